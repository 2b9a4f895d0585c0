// The training of multilayer perceptrons and small convolutional networks, one member after another: its parameters and
// what its optimizer keeps stay in the second-level cache for all the batches of a call. `native.py` says what the
// arguments are, and compiles it. A weight of a linear layer is [in, out], or [out, in] where it lies turned.

#include <atomic>
#include <exception>
#include <functional>
#include <new>
#include <thread>

#include "convolutions.hpp"
#include "slopes.hpp"

namespace {

// Alone on its cache lines: another thread has the next one.
struct alignas(128) Worker {
    const Plan& plan;
    std::vector<Buffer> buffers;
    std::vector<T*> kept;  // of the forward pass
    T* seen;  // what the layers are given by the convolutions
    Buffer features, slope, below, other, gradient, columns, logs;
    Convolutions convolutions;

    explicit Worker(const Plan& plan) : plan(plan), convolutions(plan, true) {
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
        features = Buffer(plan.room || !plan.stages ? 0 : plan.batch * padded(plan.widths[0]));
        seen = features.data();
        if (plan.clip > 0 || plan.adam || plan.stages) gradient = Buffer(plan.size);
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
        const long member = plan.which[place], last = plan.layers - 1;
        const long set = number * plan.sets + plan.of[member], row = padded(plan.widths[last + 1]);
        const T* const inputs = plan.inputs + set * plan.entered;
        T* const given = plan.room ? keep(plan.work + place * plan.room) : nullptr;
        if (plan.phase != BACKWARD) forward(plan.state + member * plan.size, inputs, number);
        if (plan.phase == LOGITS)
            std::copy_n(kept[last], plan.batch * row, plan.work + (place * plan.steps + number) * plan.batch * row);
        if (plan.phase == FORWARD || plan.phase == LOGITS) return;
        if (plan.phase == BACKWARD) std::copy_n(given, plan.batch * row, slope.data());
        else differentiate(kept[last], set, plan.rule + member * plan.ruled);
        backward(member, inputs, number);
    }

    // Keep what the layers give there; what follows it.
    T* keep(T* given) {
        given = convolutions.keep(given);
        if (plan.stages) seen = given, given += plan.batch * padded(plan.widths[0]);
        for (long l = 0; l < plan.layers; given += plan.batch * padded(plan.widths[++l])) kept[l] = given;
        return given;
    }

    const T* entering(long l, const T* inputs) const { return l ? kept[l - 1] : plan.stages ? seen : inputs; }

    void forward(const T* state, const T* inputs, long number) {
        if (plan.stages) convolutions.forward(inputs, state, number, seen);
        for (long l = 0; l < plan.layers; l++) {
            const long in = plan.widths[l], out = plan.widths[l + 1];
            const T* const weight = state + plan.weight[l];
            Product product{entering(l, inputs), padded(in), 1, plan.turned[l] ? transposed(weight, out, in) : weight, in, padded(out)};
            product.c = kept[l], product.start = plan.bias[l] < 0 ? nullptr : state + plan.bias[l];
            plan.relu[l] ? product.run<RELU>(plan.batch) : product.run<SUM>(plan.batch);
            masked(kept[l], l, number);
        }
    }

    // From the slopes of the logits to the member's next parameters.
    void backward(long member, const T* inputs, long number) {
        const auto own = [&](T* all) { return all + member * plan.size; };
        T *const state = own(plan.state), *const first = own(plan.first), *const second = own(plan.second);
        const long batch = plan.batch, last = plan.layers - 1;
        for (long i = 0; plan.relu[last] && i < batch * padded(plan.widths[last + 1]); i++)
            slope[i] = kept[last][i] <= 0 ? T(0) : slope[i];
        masked(slope.data(), last, number);
        const Update update(plan, number);
        // Where the optimizer needs more than a part of the gradient, it comes at the end.
        const bool whole = plan.clip > 0 || plan.adam;
        T* const to = whole ? gradient.data() : state;
        for (long l = last; l >= 0; l--) {
            const long in = plan.widths[l], out = plan.widths[l + 1], wide = padded(in), row = padded(out);
            const T* const given = entering(l, inputs);
            if (l || plan.stages) {
                const T* const weight = state + plan.weight[l];
                Product back{slope.data(), row, 1, plan.turned[l] ? weight : transposed(weight, in, out), out, wide};
                back.c = below.data(), back.gate = given;
                (l ? plan.relu[l - 1] : convolutions.stages.back().relu) ? back.run<GATED>(batch) : back.run<SUM>(batch);
                if (l) masked(below.data(), l - 1, number);
            }
            Product across{given, 1, wide, slope.data(), batch, row};
            if (plan.turned[l]) across = {slope.data(), 1, row, given, batch, wide};
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
        if (plan.stages) convolutions.backward(inputs, state, slope.data(), number, gradient.data());
        finish(update, whole ? plan.size : plan.convolved, state, first, second);
    }

    // What the optimizer makes of the first numbers of the gradient.
    void finish(const Update& update, long size, T* state, T* first, T* second) {
        T factor = 1;
        if (plan.clip > 0) {
            double squares = 0;
            for (long j = 0; j < size; j++) squares += double(gradient[j]) * double(gradient[j]);
            // In the numbers of the parameters, as PyTorch does: a norm may be none, or more than they hold.
            factor = T(plan.clip) / (std::sqrt(T(squares)) + T(1e-6));
            if (factor > 1) factor = 1;
        }
        for (long j = 0; j < size; j += LANES) {
            const V slope = at(&gradient[j]) * factor;
            if (plan.adam) update.adam(state + j, first + j, second + j, slope);
            else update.sgd(state + j, first + j, slope);
        }
    }
};

}  // namespace

extern "C" int64_t lanes() { return LANES; }

// What a caller's structures have to agree with.
extern "C" int64_t plan_bytes() { return sizeof(Plan); }
extern "C" int64_t stage_numbers() { return Stage::NUMBERS; }

// Numbers that a step leaves for its other half, beside those of the layers.
extern "C" int64_t room(const Plan* plan) { return Convolutions(*plan, false).room(); }

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
