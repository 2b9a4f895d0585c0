// What a call is given, and what the optimizer does with a gradient.

#pragma once

#include "vectors.hpp"

namespace {

struct Plan {
    int64_t members, threads, layers, batch, begin, steps, sets, size, room, ruled, phase, stages, chunk, convolved, entered;
    const int64_t *geometry, *widths, *relu, *turned, *weight, *bias, *which, *of, *targets;
    const T *inputs, *shares, *rule;
    const T *const *masks, *const *drops;  // of dropout behind layers, and behind the stages of convolutions
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

}  // namespace
