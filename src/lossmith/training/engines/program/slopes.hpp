// The slope of a loss that is a sum of powers, for the outputs of a network.

#pragma once

#include "vectors.hpp"

namespace {

constexpr int DEGREE = 8;

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

}  // namespace
