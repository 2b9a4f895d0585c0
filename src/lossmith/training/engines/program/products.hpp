// Products of matrices, whose sums are held in registers.

#pragma once

#include "plan.hpp"

namespace {

// What is done with a product while it is in registers: kept, kept where it is above 0, kept where another number is,
// taken as the gradient of what it is written over, or added to that.
enum After { SUM, RELU, GATED, SGD, ADDED };

// The product c = start + a b, of [rows, depth] and [depth, columns]; or a sum of such products for a rectangle of places
// in a, as in a convolution.
struct Product {
    const T* a;
    long row, along;  // steps in a: from row to row, and along a row
    const T* b;
    long depth, columns;
    T* c = nullptr;
    const T *start = nullptr, *gate = nullptr;
    T* first = nullptr;
    const Update* update = nullptr;
    // The rectangle, its steps in a, and what is left out in b after a place and after a row.
    long wide = 1, jump = 0, gap = 0, high = 1, leap = 0, skip = 0;

    template <After AFTER, int M, int N> void tile(long i, long j) const {
        const T *left = a + i * row, *right = b + j;
        T *out = c + i * columns + j, *moved = AFTER == SGD ? first + i * columns + j : nullptr;
        V sum[M][N];
#pragma GCC unroll 16
        for (int n = 0; n < N; n++)
#pragma GCC unroll 16
            for (int m = 0; m < M; m++) sum[m][n] = start ? at(start + j + n * LANES) : V{};
        const long row = this->row, along = this->along, columns = this->columns;
        for (long y = high; y; y--, left += leap, right += skip) {
            const T* place = left;
            for (long x = wide; x; x--, place += jump, right += gap) {
                const T* from = place;
                for (long k = depth; k; k--, from += along, right += columns) {
                    V one[N];
#pragma GCC unroll 16
                    for (int n = 0; n < N; n++) one[n] = at(right + n * LANES);
#pragma GCC unroll 16
                    for (int m = 0; m < M; m++)
#pragma GCC unroll 16
                        for (int n = 0; n < N; n++) sum[m][n] += from[m * row] * one[n];
                }
            }
        }
        const Update step = AFTER == SGD ? *update : Update{};
#pragma GCC unroll 16
        for (int m = 0; m < M; m++)
#pragma GCC unroll 16
            for (int n = 0; n < N; n++) {
                const long place = m * columns + n * LANES;
                // A number that is none is handed on, as PyTorch does.
                if (AFTER == SGD) step.sgd(out + place, moved + place, sum[m][n]);
                else if (AFTER == ADDED) at(out + place) += sum[m][n];
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

}  // namespace
