// The training of multilayer perceptrons, one member after another: its parameters and what its optimizer keeps stay in
// the second-level cache for all the batches of a call. `perceptron.py` says what the arguments are, and compiles it.
//
// A matrix is [rows, columns] with its rows filled up by zeros to whole vectors; a weight is [in, out].

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <thread>
#include <utility>
#include <vector>

// Nothing has a name outside: two programs of one process, with float and double, would share what has.
namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, WIDEST = 4;
#elif defined(__AVX__)
constexpr int BYTES = 32, WIDEST = 2;
#else
constexpr int BYTES = 16, WIDEST = 4;
#endif
constexpr int DEGREE = 8;

typedef REAL T;
typedef T V __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias));
typedef WHOLE Whole __attribute__((vector_size(BYTES)));
constexpr long LANES = BYTES / sizeof(T);
long padded(long columns) { return (columns + LANES - 1) / LANES * LANES; }
V& at(T* place) { return *reinterpret_cast<V*>(place); }
const V& at(const T* place) { return *reinterpret_cast<const V*>(place); }

template <int FIRST, int... LANE> V interleaved(V a, V b, std::integer_sequence<int, LANE...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, (FIRST + LANE / 2 + LANE % 2 * int(LANES))...);
#else
    return __builtin_shuffle(a, b, Whole{(FIRST + LANE / 2 + LANE % 2 * LANES)...});
#endif
}

// The matrix from [rows, columns] the other way round, by squares of vectors.
void transpose(const T* from, long rows, long columns, T* to) {
    constexpr auto lanes = std::make_integer_sequence<int, LANES>();
    const long wide = padded(columns), high = padded(rows);
    for (long i = 0; i < rows; i += LANES)
        for (long j = 0; j < columns; j += LANES) {
            V square[LANES];
            for (long k = 0; k < LANES; k++) square[k] = i + k < rows ? at(from + (i + k) * wide + j) : V{};
            for (long stage = 1; stage < LANES; stage *= 2) {
                V next[LANES];
                for (long k = 0; k < LANES / 2; k++) {
                    next[2 * k] = interleaved<0>(square[k], square[k + LANES / 2], lanes);
                    next[2 * k + 1] = interleaved<LANES / 2>(square[k], square[k + LANES / 2], lanes);
                }
                for (long k = 0; k < LANES; k++) square[k] = next[k];
            }
            for (long k = 0; k < std::min(LANES, columns - j); k++) at(to + (j + k) * high + i) = square[k];
        }
}

struct Plan {
    int64_t members, threads, layers, batch, begin, steps, sets, size, room, ruled, phase;
    const int64_t *widths, *relu, *turned, *weight, *bias, *which, *of, *targets;
    const T *inputs, *shares, *rule;
    const T* const* masks;
    T *state, *first, *second, *work;
    const double* rates;
    double momentum, weight_decay, clip;
    int64_t adam;
};

// What a call does: steps, a half of one step, between which others make slopes of the logits in `work`, or logits alone.
enum Phase { STEPS, FORWARD, BACKWARD, LOGITS };

// One step of the optimizer, with PyTorch's numbers.
struct Update {
    T rate, momentum, decay, shrink, root;

    Update() = default;
    Update(const Plan& plan, long step)
        : rate(plan.rates[3 * step]), momentum(plan.momentum), decay(plan.weight_decay),
          shrink(1 - plan.rates[3 * step + 2] * plan.weight_decay), root(plan.rates[3 * step + 1]) {}

    void sgd(T* value, T* first, V gradient) const {
        // Nothing of a number that may be -inf is added where there is no decay.
        const V old = at(value), moved = at(first) * momentum + (decay == 0 ? gradient : gradient + old * decay);
        at(first) = moved;
        at(value) = old - moved * rate;
    }

    void adam(T* value, T* first, T* second, V gradient) const {
        const V one = at(first) + (gradient - at(first)) * (1 - momentum);
        const V two = at(second) * T(0.999) + gradient * gradient * T(0.001);
        V length = two;
        for (long lane = 0; lane < LANES; lane++) length[lane] = std::sqrt(length[lane]);
        at(first) = one;
        at(second) = two;
        at(value) = at(value) * shrink - one * rate / (length * root + T(1e-8));
    }
};

// What is done with a product while it is in registers: kept, kept where it is above 0, kept where another number is,
// or taken as the gradient of what it is written over.
enum After { SUM, RELU, GATED, SGD };

// The product c = start + a b, of [rows, depth] and [depth, columns].
struct Product {
    const T* a;
    long row, along;  // steps in a: from row to row, and along a row
    const T* b;
    long depth, columns;
    T* c = nullptr;
    const T *start = nullptr, *gate = nullptr;
    T* first = nullptr;
    const Update* update = nullptr;

    template <After AFTER, int M, int N> void tile(long i, long j) const {
        const T *left = a + i * row, *right = b + j;
        T *out = c + i * columns + j, *moved = first + i * columns + j;
        V sum[M][N];
#pragma GCC unroll 16
        for (int n = 0; n < N; n++)
#pragma GCC unroll 16
            for (int m = 0; m < M; m++) sum[m][n] = start ? at(start + j + n * LANES) : V{};
        const long row = this->row, along = this->along, columns = this->columns;
        for (long k = depth; k; k--, left += along, right += columns) {
            V one[N];
#pragma GCC unroll 16
            for (int n = 0; n < N; n++) one[n] = at(right + n * LANES);
#pragma GCC unroll 16
            for (int m = 0; m < M; m++)
#pragma GCC unroll 16
                for (int n = 0; n < N; n++) sum[m][n] += left[m * row] * one[n];
        }
        const Update step = AFTER == SGD ? *update : Update{};
#pragma GCC unroll 16
        for (int m = 0; m < M; m++)
#pragma GCC unroll 16
            for (int n = 0; n < N; n++) {
                const long place = m * columns + n * LANES;
                // A number that is none is handed on, as PyTorch does.
                if (AFTER == SGD) step.sgd(out + place, moved + place, sum[m][n]);
                else if (AFTER == SUM) at(out + place) = sum[m][n];
                else {
                    const V seen = AFTER == RELU ? sum[m][n] : at(gate + (out - c) + place);
                    at(out + place) = seen <= T(0) ? V{} : sum[m][n];
                }
            }
    }

    // All columns from some on that fill vectors by N, in tiles of rows that are as equal as can be.
    template <After AFTER, int N, int... ROWS> long strips(long rows, long j, std::integer_sequence<int, ROWS...>) const {
        typedef void (Product::*Tile)(long, long) const;
        static constexpr Tile tiles[] = {&Product::tile<AFTER, ROWS + 1, N>...};
        constexpr long most = sizeof...(ROWS);
        const long number = (rows + most - 1) / most, height = rows / number, higher = rows % number;
        for (; j + N * LANES <= columns; j += N * LANES)
            for (long i = 0, tile = 0; tile < number; i += height + (tile++ < higher))
                (this->*tiles[height + (tile < higher) - 1])(i, j);
        return j;
    }

    template <After AFTER> void run(long rows) const {
        constexpr auto six = std::make_integer_sequence<int, 6>();
        const long j = strips<AFTER, 2>(rows, strips<AFTER, WIDEST>(rows, 0, six), six);
        strips<AFTER, 1>(rows, j, std::make_integer_sequence<int, 12>());
    }
};

// e^x for x <= 0, lane by lane.
V exponential(V x) {
#ifdef SINGLE
    x = x < -87.f ? V{} - 87.f : x;
    const Whole whole = __builtin_convertvector(x * 1.44269504f - 0.5f, Whole);
    const V number = __builtin_convertvector(whole, V);
    const V rest = (x - number * 0.693359375f) + number * 2.12194440e-4f;
    V sum = rest * (1.f / 5040) + 1.f / 720;
    for (const float c : {1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2, 1.f, 1.f}) sum = sum * rest + c;
    return sum * (V)((whole + 127) << 23);
#else
    for (long lane = 0; lane < LANES; lane++) x[lane] = std::exp(x[lane]);
    return x;
#endif
}

V larger(V x, T least) { return x < least ? V{} + least : x; }

V polynomial(const T* c, V x) {
    V value = x * c[DEGREE] + c[DEGREE - 1];
    for (int power = DEGREE - 2; power >= 0; power--) value = value * x + c[power];
    return value;
}

// The slope of a loss for an output h with x = log h: p(h) + x r(h), and what no polynomial is, row by row.
struct Slope {
    const T *powers, *logs, *rows, *end;
    bool logarithm;  // whether x is looked at

    explicit Slope(const T* c)
        : powers(c), logs(c + DEGREE + 1), rows(c + 2 * DEGREE + 4), end(rows + 4 * long(rows[-1])), logarithm(rows[-2] != 0) {}

    V operator()(V h, V x) const {
        V value = polynomial(powers, h);
        if (logarithm) value += x * polynomial(logs, h);
        for (const T* row = rows; row < end; row += 4)
            value += row[3] == 0 ? power(row[0], row[1], row[2], x) : near(row[0], h, x) * row[1];
        return value;
    }

    // (a + b x) e^(i x); with i < 0 it stays what it is where e^(i x) is e^40.
    static V power(T i, T a, T b, V x) {
        if (i < 0) x = larger(x, 40 / i);
        const V value = exponential(i < 0 ? x * -i : x * i);
        return (x * b + a) * (i < 0 ? 1 / value : value);
    }

    // The derivative of (1 - h)^k log h with respect to x: (1 - h)^(k - 1) (1 - h - k h x).
    static V near(T k, V h, V x) {
        V gap;
        for (long lane = 0; lane < LANES; lane++) gap[lane] = -std::expm1(x[lane]);
        V value = gap - h * x * k;
        for (long factor = 1; factor < long(k); factor++) value *= gap;
        return value;
    }
};

// Numbers at the start of a cache line: the vectors of a product do not lie across two.
struct Buffer {
    struct alignas(64) Line { T values[64 / sizeof(T)]; };
    std::vector<Line> lines;

    explicit Buffer(long size = 0) : lines(size * sizeof(T) / sizeof(Line) + 1) {}
    T* data() { return lines.data()->values; }
    T& operator[](long place) { return data()[place]; }
};

// Alone on its cache lines: another thread has the next one.
struct alignas(128) Worker {
    const Plan& plan;
    std::vector<Buffer> buffers;
    std::vector<T*> kept;  // of the forward pass
    Buffer slope, below, other, gradient, columns, logs;

    explicit Worker(const Plan& plan) : plan(plan) {
        long widest = 0, largest = 0;
        for (long l = 0; l < plan.layers; l++) {
            const long in = padded(plan.widths[l]), out = padded(plan.widths[l + 1]);
            widest = std::max({widest, in, out}), largest = std::max(largest, in * out);
            buffers.emplace_back(plan.room ? 0 : plan.batch * out);
            kept.push_back(buffers.back().data());
        }
        slope = below = Buffer(plan.batch * widest);
        other = Buffer(largest);
        columns = logs = Buffer((plan.widths[plan.layers] + 1) * padded(plan.batch));
        if (plan.clip > 0 || plan.adam) gradient = Buffer(plan.size);
    }

    const T* transposed(const T* weight, long rows, long columns) {
        return transpose(weight, rows, columns, other.data()), other.data();
    }

    void masked(T* values, long layer, long step) const {
        const T* mask = plan.masks[layer];
        const long width = plan.widths[layer + 1], row = padded(width);
        for (long i = 0; mask && i < plan.batch; i++)
            for (long j = 0; j < width; j++) values[i * row + j] *= mask[(step * plan.batch + i) * width + j];
    }

    // The gradient with respect to the logits: h_j sum_k g_k - g_j, for slopes g of the outputs h.
    void differentiate(const T* logits, long set, const T* rule) {
        const long batch = plan.batch, classes = plan.widths[plan.layers], row = padded(classes), n = padded(batch);
        const int64_t* const targets = plan.targets + set * batch;
        const T* const shares = plan.shares + set * n;
        const Slope free(rule), tied(rule + plan.ruled / 2);
        const bool logarithm = free.logarithm || tied.logarithm;
        T *const h = columns.data(), *const x = logs.data();
        T *const label = h + classes * n, *const own = x + classes * n;
        transpose(logits, batch, classes, h);
        for (long i = 0; i < n; i += LANES) {
            V top = at(h + i), sum{};
            for (long k = 1; k < classes; k++) top = at(h + k * n + i) > top ? at(h + k * n + i) : top;
            for (long k = 0; k < classes; k++) sum += at(h + k * n + i) = exponential(at(x + k * n + i) = at(h + k * n + i) - top);
            V log = sum;
            for (long lane = 0; logarithm && lane < LANES; lane++) log[lane] = std::log(sum[lane]);
            // The number of a masked class is finite, so that 0 times it is 0.
            for (long k = 0; logarithm && k < classes; k++) at(x + k * n + i) = larger(at(x + k * n + i) - log, -T(1e18));
            sum = 1 / sum;
            for (long k = 0; k < classes; k++) at(h + k * n + i) *= sum;
        }
        for (long i = 0; i < batch; i++) label[i] = h[targets[i] * n + i], own[i] = x[targets[i] * n + i];
        for (long i = 0; i < n; i += LANES) {
            const V pull = at(label + i) = tied(at(label + i), at(own + i)), share = at(shares + i);
            V total = pull;
            for (long k = 0; k < classes; k++) total += at(x + k * n + i) = free(at(h + k * n + i), at(x + k * n + i));
            for (long k = 0; k < classes; k++) at(h + k * n + i) = (at(h + k * n + i) * total - at(x + k * n + i)) * share;
        }
        transpose(h, classes, batch, slope.data());
        for (long i = 0; i < batch; i++) slope[i * row + targets[i]] -= label[i] * shares[i];
    }

    // A step of one of the members that the call is for; the place of its numbers in `work` is among these.
    void step(long place, long number) {
        const long member = plan.which[place], batch = plan.batch, last = plan.layers - 1;
        const long set = number * plan.sets + plan.of[member], row = padded(plan.widths[last + 1]);
        const auto own = [&](T* all) { return all + member * plan.size; };
        T *const state = own(plan.state), *const first = own(plan.first), *const second = own(plan.second);
        const T* const inputs = plan.inputs + set * batch * padded(plan.widths[0]);
        const auto entering = [&](long l) { return l ? kept[l - 1] : inputs; };
        T* given = plan.room ? plan.work + place * plan.room : nullptr;
        for (long l = 0; given && l <= last; given += batch * padded(plan.widths[++l])) kept[l] = given;
        for (long l = 0; plan.phase != BACKWARD && l <= last; l++) {
            const long in = plan.widths[l], out = plan.widths[l + 1];
            const T* const weight = state + plan.weight[l];
            Product forward{entering(l), padded(in), 1, plan.turned[l] ? transposed(weight, out, in) : weight, in, padded(out)};
            forward.c = kept[l], forward.start = plan.bias[l] < 0 ? nullptr : state + plan.bias[l];
            plan.relu[l] ? forward.run<RELU>(batch) : forward.run<SUM>(batch);
            masked(kept[l], l, number);
        }
        if (plan.phase == LOGITS) std::copy(kept[last], kept[last] + batch * row, plan.work + (place * plan.steps + number) * batch * row);
        if (plan.phase == FORWARD || plan.phase == LOGITS) return;
        if (plan.phase == BACKWARD) std::copy(given, given + batch * row, slope.data());
        else differentiate(kept[last], set, plan.rule + member * plan.ruled);
        for (long i = 0; plan.relu[last] && i < batch * row; i++) slope[i] = kept[last][i] <= 0 ? T(0) : slope[i];
        masked(slope.data(), last, number);
        const Update update(plan, number);
        // Where the optimizer needs more than a part of the gradient, it comes at the end.
        const bool whole = plan.clip > 0 || plan.adam;
        T* const to = whole ? gradient.data() : state;
        for (long l = last; l >= 0; l--) {
            const long in = plan.widths[l], out = plan.widths[l + 1], wide = padded(in), row = padded(out);
            if (l) {
                const T* const weight = state + plan.weight[l];
                Product back{slope.data(), row, 1, plan.turned[l] ? weight : transposed(weight, in, out), out, wide};
                back.c = below.data(), back.gate = kept[l - 1];
                plan.relu[l - 1] ? back.run<GATED>(batch) : back.run<SUM>(batch);
                masked(below.data(), l - 1, number);
            }
            Product across{entering(l), 1, wide, slope.data(), batch, row};
            if (plan.turned[l]) across = {slope.data(), 1, row, entering(l), batch, wide};
            across.c = to + plan.weight[l], across.first = first + plan.weight[l], across.update = &update;
            whole ? across.run<SUM>(plan.turned[l] ? out : in) : across.run<SGD>(plan.turned[l] ? out : in);
            if (plan.bias[l] >= 0) {
                const T one = 1;
                Product sum{&one, 0, 0, slope.data(), batch, row};
                sum.c = to + plan.bias[l], sum.first = first + plan.bias[l], sum.update = &update;
                whole ? sum.run<SUM>(1) : sum.run<SGD>(1);
            }
            std::swap(slope, below);
        }
        if (!whole) return;
        T factor = 1;
        if (plan.clip > 0) {
            double squares = 0;
            for (long j = 0; j < plan.size; j++) squares += double(gradient[j]) * double(gradient[j]);
            // In the numbers of the parameters, as PyTorch does: a norm may be none, or more than they hold.
            factor = T(plan.clip) / (std::sqrt(T(squares)) + T(1e-6));
            if (factor > 1) factor = 1;
        }
        for (long j = 0; j < plan.size; j += LANES) {
            const V slope = at(&gradient[j]) * factor;
            if (plan.adam) update.adam(state + j, first + j, second + j, slope);
            else update.sgd(state + j, first + j, slope);
        }
    }
};

}  // namespace

extern "C" int64_t lanes() { return LANES; }

// Gives 0, or 1 where memory was short.
extern "C" int train(const Plan* given) {
    const Plan& plan = *given;
    std::vector<Worker> workers;
    std::vector<std::thread> others;
    const long most = std::min(plan.threads, plan.members);
    try {
        others.reserve(most), workers.reserve(most);
        while (long(workers.size()) < most) workers.emplace_back(plan);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    std::atomic<long> next{0};
    const auto work = [&plan, &next](Worker& worker) {
        for (long member; (member = next++) < plan.members;)
            for (long number = 0; number < plan.steps; number++) worker.step(member, plan.begin + number);
    };
    try {
        for (long number = 1; number < most; number++) others.emplace_back(work, std::ref(workers[number]));
    } catch (const std::exception&) {
        // With fewer threads it takes longer.
    }
    work(workers[0]);
    for (std::thread& other : others) other.join();
    return 0;
}
