// Convolutions of stride 1 with what follows them, ReLU and the maximum of windows side by side.
//
// The samples of a batch are taken in chunks, as many as a product has rows in registers. The images of a chunk are
// [pixel, sample, channel], with a border of zeros as wide as the padding of the convolution that they enter.

#pragma once

#include "products.hpp"
#include "stage.hpp"

namespace {

typedef int8_t Small __attribute__((vector_size(LANES), aligned(1), may_alias));

class Convolutions {
    const Plan& plan;
    std::vector<Buffer> images, sums, biases, turned, spread;
    std::vector<std::vector<int8_t>> choices;
    std::vector<T*> kept;  // what the stages give, with the border of the next one
    std::vector<int8_t*> chosen;  // which of its window's places each number is from
    std::vector<WHOLE> places;
    Buffer weights, window, slope, below;

    long chunks() const { return (plan.batch + plan.chunk - 1) / plan.chunk; }
    long rows(long chunk) const { return std::min(long(plan.chunk), plan.batch - chunk * plan.chunk); }
    // Pixels that a stage gives, with the border of the next one.
    long given(long s) const {
        return s + 1 < long(stages.size()) ? stages[s + 1].pixels() : stages[s].windows();
    }
    long images_size(long s) const { return chunks() * given(s) * plan.chunk * stages[s].columns(); }
    long choices_size(long s) const { return chunks() * stages[s].windows() * plan.chunk * stages[s].columns(); }
    // Where the first number of a pixel is in what a stage gives.
    long place(long s, long chunk, long y, long x) const {
        const bool last = s + 1 == long(stages.size());
        const long up = last ? 0 : stages[s + 1].up, side = last ? 0 : stages[s + 1].side;
        const long width = stages[s].wide() + 2 * side;
        return (chunk * given(s) + (y + up) * width + x + side) * plan.chunk * stages[s].columns();
    }

public:
    std::vector<Stage> stages;

    explicit Convolutions(const Plan& plan, bool owning) : plan(plan) {
        for (long s = 0; s < plan.stages; s++) stages.emplace_back(plan.geometry + s * Stage::NUMBERS);
        if (!owning) return;
        long weight = 0, most = 0, largest = 0, columns = 0;
        for (long s = 0; s < plan.stages; s++) {
            const Stage& stage = stages[s];
            images.emplace_back(plan.room ? 0 : images_size(s)), choices.emplace_back(plan.room ? 0 : choices_size(s));
            kept.push_back(images.back().data()), chosen.push_back(choices.back().data());
            sums.emplace_back(stage.sums()), biases.emplace_back(stage.columns());
            turned.emplace_back(s ? stage.taps() * stage.filters * stage.row : 0);
            spread.emplace_back(s ? stage.down() * stage.across() * plan.chunk * stage.columns() : 0);
            weight = std::max(weight, padded(stage.taps() * stage.channels) * stage.columns());
            most = std::max(most, stage.pool * stage.pooled * plan.chunk * stage.columns());
            largest = std::max({largest, stage.windows() * stage.columns(), s ? stage.height * stage.width * stage.row : 0});
            columns = std::max(columns, stage.columns());
        }
        weights = Buffer(weight), window = Buffer(most);
        slope = below = Buffer(largest * plan.chunk);
        places.resize(plan.chunk * columns);
    }

    // Numbers that a stage gives in one step, and the room of its choices, which are bytes, in such numbers.
    long room(long s) const { return images_size(s) + padded((choices_size(s) + sizeof(T) - 1) / sizeof(T)); }

    long room() const {
        long total = 0;
        for (long s = 0; s < long(stages.size()); s++) total += room(s);
        return total;
    }

    // Keep what the stages give there; what follows it.
    T* keep(T* at) {
        for (long s = 0; s < long(stages.size()); at += room(s++))
            kept[s] = at, chosen[s] = reinterpret_cast<int8_t*>(at + images_size(s));
        return at;
    }

    // From the images of a batch to [sample, pixel, channel].
    void forward(const T* inputs, const T* state, long step, T* features) {
        for (long s = 0; s < long(stages.size()); s++) {
            const Stage& stage = stages[s];
            transpose(state + stage.weight, stage.filters, stage.taps() * stage.channels, weights.data());
            for (long chunk = 0; chunk < chunks(); chunk++) {
                const T* const image = entering(s, inputs, chunk);
                for (long y = 0; y < stage.high(); y++)
                    for (long x = 0; x < stage.wide(); x++) {
                        convolve(stage, image, state, y, x, rows(chunk));
                        const long number = (chunk * stage.windows() + y * stage.wide() + x) * plan.chunk * stage.columns();
                        choose(stage, rows(chunk), kept[s] + place(s, chunk, y, x), chosen[s] + number);
                    }
            }
            const T* const mask = dropped(s, step);
            for (long i = 0; mask && i < images_size(s); i += LANES) at(kept[s] + i) *= at(mask + i);
        }
        across(features, kept.back());
    }

    // The gradient with respect to the parameters, where `slopes` is that of the features, [sample, pixel, channel].
    void backward(const T* inputs, const T* state, const T* slopes, long step, T* gradient) {
        const long last = stages.size() - 1;
        for (long s = 0; s <= last; s++) {
            const Stage& stage = stages[s];
            std::fill_n(sums[s].data(), stage.sums(), T(0));
            std::fill_n(biases[s].data(), stage.columns(), T(0));
            for (long f = 0; s && f < stage.filters; f++)
                for (long tap = 0; tap < stage.taps(); tap++)
                    std::copy_n(state + stage.weight + f * padded(stage.taps() * stage.channels) + tap * stage.channels,
                                stage.channels, turned[s].data() + (tap * stage.filters + f) * stage.row);
        }
        for (long chunk = 0; chunk < chunks(); chunk++) {
            const Stage& end = stages[last];
            for (long i = 0; i < rows(chunk); i++)
                for (long pixel = 0; pixel < end.windows(); pixel++)
                    std::copy_n(slopes + ((chunk * plan.chunk + i) * end.windows() + pixel) * end.columns(), end.columns(),
                                slope.data() + (pixel * plan.chunk + i) * end.columns());
            for (long s = last; s >= 0; s--) {
                drop(s, chunk, step);
                gather(s, entering(s, inputs, chunk), chunk);
                if (s) descend(s, entering(s, inputs, chunk), chunk);
                std::swap(slope, below);
            }
        }
        for (long s = 0; s <= last; s++) {
            const Stage& stage = stages[s];
            if (stage.turned()) transpose(sums[s].data(), stage.taps() * stage.channels, stage.filters, gradient + stage.weight);
            for (long f = 0; !stage.turned() && f < stage.filters; f++)
                for (long tap = 0; tap < stage.taps(); tap++)
                    std::copy_n(sums[s].data() + f * stage.filter() + tap * stage.tap(), stage.channels,
                                gradient + stage.weight + f * padded(stage.taps() * stage.channels) + tap * stage.channels);
            if (stage.bias >= 0) std::copy_n(biases[s].data(), stage.filters, gradient + stage.bias);
        }
    }

private:
    // What dropout multiplies the numbers by that a stage gives, as they lie in memory; nothing without it.
    const T* dropped(long s, long step) const {
        const T* const mask = plan.drops ? plan.drops[s] : nullptr;
        return mask ? mask + step * images_size(s) : nullptr;
    }

    void drop(long s, long chunk, long step) {
        const T* const mask = dropped(s, step);
        const long size = plan.chunk * stages[s].columns();
        for (long number = 0; mask && number < stages[s].windows(); number++) {
            const T* const from = mask + place(s, chunk, number / stages[s].wide(), number % stages[s].wide());
            for (long i = 0; i < size; i += LANES) at(slope.data() + number * size + i) *= at(from + i);
        }
    }

    const T* entering(long s, const T* inputs, long chunk) const {
        return (s ? kept[s - 1] : inputs) + chunk * stages[s].pixels() * plan.chunk * stages[s].row;
    }

    // The numbers of a window before its maximum is taken; of the border, which is 0, there are no products.
    void convolve(const Stage& stage, const T* image, const T* state, long y, long x, long rows) {
        const long columns = stage.columns();
        for (long q = 0; q < stage.pool * stage.pooled; q++) {
            const long top = y * stage.pool + q / stage.pooled, left = x * stage.pooled + q % stage.pooled;
            const Range tall(std::max(0L, stage.up - top), std::min(stage.tall, stage.up + stage.height - top));
            const Range broad(std::max(0L, stage.side - left), std::min(stage.broad, stage.side + stage.width - left));
            const long corner = (top + tall.from) * stage.bordered() + left + broad.from, step = plan.chunk * stage.row;
            const long tap = stage.channels * columns;
            Product product{image + corner * step, stage.row, 1, weights.data() + (tall.from * stage.broad + broad.from) * tap,
                            stage.channels, columns};
            product.c = window.data() + q * plan.chunk * columns;
            product.start = stage.bias < 0 ? nullptr : state + stage.bias;
            product.wide = broad.number, product.jump = step, product.high = tall.number;
            product.leap = stage.bordered() * step, product.skip = (stage.broad - broad.number) * tap;
            product.run<SUM>(rows);
        }
    }

    // The maximum of a window; the first one of equals, and a number that is none before all, as PyTorch does.
    void choose(const Stage& stage, long rows, T* to, int8_t* choice) {
        const long size = plan.chunk * stage.columns();
        for (long i = 0; i < rows * stage.columns(); i += LANES) {
            V best = at(window.data() + i);
            Whole which{};
            for (long q = 1; q < stage.pool * stage.pooled; q++) {
                const V other = at(window.data() + q * size + i);
                const auto better = (other > best) | (other != other);
                best = better ? other : best, which = better ? Whole{} + WHOLE(q) : which;
            }
            at(to + i) = stage.relu ? (best <= T(0) ? V{} : best) : best;
            *reinterpret_cast<Small*>(choice + i) = __builtin_convertvector(which, Small);
        }
    }

    void across(T* features, const T* images) const {
        const Stage& stage = stages.back();
        const long columns = stage.columns(), windows = stage.windows();
        for (long i = 0; i < plan.batch; i++)
            for (long pixel = 0; pixel < windows; pixel++)
                // Not what fills them up: infinite numbers times its zeros are none.
                std::copy_n(images + ((i / plan.chunk * windows + pixel) * plan.chunk + i % plan.chunk) * columns, stage.filters,
                            features + (i * windows + pixel) * columns);
    }

    // How the sums of some taps are added to: of which samples, and the steps from tap to tap in an image and in the sums.
    struct Sums {
        const Stage& stage;
        long samples, leap, step, under, beside;

        template <int ROWS, int TAPS, class Add> void add(T* sums, const Add& add) const {
            V total[ROWS][TAPS];
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                for (int t = 0; t < TAPS; t++) total[r][t] = at(sums + r * under + t * beside);
            for (long i = 0; i < samples; i++) add(i, total);
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                for (int t = 0; t < TAPS; t++) at(sums + r * under + t * beside) = total[r][t];
        }

        // For one filter, vectors of channels at the chosen places.
        template <int ROWS, int TAPS> void one(const T* image, const WHOLE* places, const T* slopes, T* sums) const {
            const long columns = stage.columns(), leap = this->leap, step = this->step;
            add<ROWS, TAPS>(sums, [=](long i, V(&total)[ROWS][TAPS]) {
                const T* const from = image + places[i * columns];
                const V slope = V{} + slopes[i * columns];
#pragma GCC unroll 16
                for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                    for (int t = 0; t < TAPS; t++) total[r][t] += slope * at(from + r * leap + t * step);
            });
        }

        // For one channel, vectors of filters at each place that some have chosen.
        template <int ROWS, int TAPS> void many(const T* image, const int8_t* choice, const T* slopes, T* sums) const {
            const long columns = stage.columns(), leap = this->leap, step = this->step, row = stage.row;
            const long pool = stage.pool, pooled = stage.pooled;
            add<ROWS, TAPS>(sums, [=](long i, V(&total)[ROWS][TAPS]) {
                const Whole which = __builtin_convertvector(*reinterpret_cast<const Small*>(choice + i * columns), Whole);
                const V all = at(slopes + i * columns);
                const T* line = image + i * row;
                for (long y = 0, q = 0; y < pool; y++, line += leap)
                    for (long x = 0; x < pooled; x++, q++) {
                        const T* const from = line + x * step;
                        const V slope = which == Whole{} + WHOLE(q) ? all : V{};
#pragma GCC unroll 16
                        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
                            for (int t = 0; t < TAPS; t++) total[r][t] += slope * from[r * leap + t * step];
                    }
            });
        }
    };

    // All taps, in rectangles whose sums fit into registers: what is done with those at a place.
    template <class Run> static void rectangles(const Stage& stage, const Run& run) {
        const std::integral_constant<int, 1> one;
        const std::integral_constant<int, 3> three;
        const std::integral_constant<int, 5> five;
        const std::integral_constant<int, 7> seven;
        if (stage.tall == 3 && stage.broad == 3) return run(three, three, 0, 0);
        for (long y = 0; y < stage.tall; y++)
            for (long x = 0; x < stage.broad;) {
                const long left = stage.broad - x;
                if (left >= 7) run(one, seven, y, x), x += 7;
                else if (left >= 5) run(one, five, y, x), x += 5;
                else if (left >= 3) run(one, three, y, x), x += 3;
                else run(one, one, y, x), x++;
            }
    }

    // The sums of the weights' gradient: only the chosen place of each window has a slope.
    void gather(long s, const T* image, long chunk) {
        const Stage& stage = stages[s];
        const long columns = stage.columns(), size = plan.chunk * columns, step = plan.chunk * stage.row;
        const long leap = stage.bordered() * step;
        for (long tap = 0; stage.dense() && tap < stage.taps(); tap++) {
            Product product{image + tap / stage.broad * leap + tap % stage.broad * step, 1, stage.row, slope.data(), rows(chunk), columns};
            product.c = sums[s].data() + tap * stage.tap();
            product.wide = stage.across(), product.jump = step, product.gap = size - rows(chunk) * columns;
            product.high = stage.down(), product.leap = leap;
            product.run<ADDED>(stage.channels);
        }
        const Sums sum{stage, rows(chunk), leap, step, stage.broad * stage.tap(), stage.tap()};
        for (long number = 0; number < stage.windows(); number++) {
            const T* const slopes = slope.data() + number * size;
            const int8_t* const choice = chosen[s] + (chunk * stage.windows() + number) * size;
            const T* const corner = image + number / stage.wide() * stage.pool * leap + number % stage.wide() * stage.pooled * step;
            for (long i = 0; i < rows(chunk) * columns; i += LANES) at(biases[s].data() + i % columns) += at(slopes + i);
            if (stage.dense()) continue;
            if (stage.few()) {
                for (long f = 0; f < columns; f += LANES)
                    for (long channel = 0; channel < stage.channels; channel++)
                        rectangles(stage, [&](auto tall, auto broad, long y, long x) {
                            sum.template many<decltype(tall)::value, decltype(broad)::value>(
                                corner + y * leap + x * step + channel, choice + f, slopes + f,
                                sums[s].data() + (y * stage.broad + x) * stage.tap() + channel * columns + f);
                        });
                continue;
            }
            find(stage, choice, rows(chunk), leap, step);
            for (long f = 0; f < stage.filters; f++)
                for (long line = 0; line < stage.tap(); line += LANES)
                    rectangles(stage, [&](auto tall, auto broad, long y, long x) {
                        sum.template one<decltype(tall)::value, decltype(broad)::value>(
                            corner + y * leap + x * step + line, places.data() + f, slopes + f,
                            sums[s].data() + f * stage.filter() + (y * stage.broad + x) * stage.tap() + line);
                    });
        }
    }

    // Where the chosen places are, counted from the first place of the window of the first sample.
    void find(const Stage& stage, const int8_t* choice, long rows, long leap, long step) {
        for (long i = 0; i < rows * stage.columns(); i += LANES) {
            const Whole which = __builtin_convertvector(*reinterpret_cast<const Small*>(choice + i), Whole);
            Whole place = Whole{} + WHOLE(i / stage.columns() * stage.row);
            for (long q = 1; q < stage.pool * stage.pooled; q++)
                place += which == Whole{} + WHOLE(q) ? Whole{} + WHOLE(q / stage.pooled * leap + q % stage.pooled * step) : Whole{};
            std::copy_n(reinterpret_cast<const WHOLE*>(&place), LANES, places.data() + i);
        }
    }

    // The gradient with respect to what entered: of each pixel from the places that it was seen at.
    void descend(long s, const T* image, long chunk) {
        const Stage& stage = stages[s];
        const long columns = stage.columns(), size = plan.chunk * columns;
        for (long number = 0; number < stage.windows(); number++) {
            const T* const slopes = slope.data() + number * size;
            const int8_t* const choice = chosen[s] + (chunk * stage.windows() + number) * size;
            for (long q = 0; q < stage.pool * stage.pooled; q++) {
                const long y = number / stage.wide() * stage.pool + q / stage.pooled;
                T* const to = spread[s].data() + (y * stage.across() + number % stage.wide() * stage.pooled + q % stage.pooled) * size;
                for (long i = 0; i < rows(chunk) * columns; i += LANES) {
                    const Whole which = __builtin_convertvector(*reinterpret_cast<const Small*>(choice + i), Whole);
                    at(to + i) = which == Whole{} + WHOLE(q) ? at(slopes + i) : V{};
                }
            }
        }
        const long tap = stage.filters * stage.row;
        for (long y = 0; y < stage.height; y++)
            for (long x = 0; x < stage.width; x++) {
                const long top = y + stage.up, left = x + stage.side;
                const Range tall(std::max(0L, top - stage.down() + 1), std::min(stage.tall, top + 1));
                const Range broad(std::max(0L, left - stage.across() + 1), std::min(stage.broad, left + 1));
                const long corner = (top - tall.from) * stage.across() + left - broad.from;
                Product product{spread[s].data() + corner * size, columns, 1,
                                turned[s].data() + (tall.from * stage.broad + broad.from) * tap, stage.filters, stage.row};
                product.c = below.data() + (y * stage.width + x) * plan.chunk * stage.row;
                product.gate = image + (top * stage.bordered() + left) * plan.chunk * stage.row;
                product.wide = broad.number, product.jump = -size, product.high = tall.number;
                product.leap = -stage.across() * size, product.skip = (stage.broad - broad.number) * tap;
                stages[s - 1].relu ? product.run<GATED>(rows(chunk)) : product.run<SUM>(rows(chunk));
            }
    }
};

}  // namespace
