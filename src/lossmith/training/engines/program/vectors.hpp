// Vectors of numbers, and matrices of them.
//
// A matrix is [rows, columns] with its rows filled up by zeros to whole vectors.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
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

// Numbers at the start of a cache line: the vectors of a product do not lie across two.
struct Buffer {
    struct alignas(64) Line { T values[64 / sizeof(T)]; };
    std::vector<Line> lines;

    explicit Buffer(long size = 0) : lines(size * sizeof(T) / sizeof(Line) + 1) {}
    T* data() { return lines.data()->values; }
    T& operator[](long place) { return data()[place]; }
};

}  // namespace
