// A convolution of stride 1 with what follows it, and how its images lie in memory.

#pragma once

#include "vectors.hpp"

namespace {

struct Stage {
    long channels, row, height, width, tall, broad, up, side, filters, pool, pooled, relu, weight, bias;

    explicit Stage(const int64_t* g)
        : channels(g[0]), row(g[1]), height(g[2]), width(g[3]), tall(g[4]), broad(g[5]), up(g[6]), side(g[7]), filters(g[8]),
          pool(g[9]), pooled(g[10]), relu(g[11]), weight(g[12]), bias(g[13]) {}

    static constexpr long NUMBERS = 14;
    long columns() const { return padded(filters); }
    long taps() const { return tall * broad; }
    long bordered() const { return width + 2 * side; }
    long pixels() const { return (height + 2 * up) * bordered(); }
    long down() const { return height + 2 * up - tall + 1; }
    long across() const { return bordered() - broad + 1; }
    long high() const { return down() / pool; }
    long wide() const { return across() / pooled; }
    long windows() const { return high() * wide(); }
    // Whether each place is its own window, so that all have slopes, and a product has sums enough to be quick.
    bool dense() const { return pool * pooled == 1 && channels * std::min(columns() / LANES, long(WIDEST)) > 5; }
    // Whether vectors of filters are fuller than those of channels, of which there are few.
    bool few() const { return !dense() && pool * pooled * channels < LANES; }
    // The sums of the weights' gradient are [filter, tap, channel], or [tap, channel, filter].
    bool turned() const { return dense() || few(); }
    // From a tap, or a filter, to the next one there.
    long tap() const { return turned() ? channels * columns() : padded(channels); }
    long filter() const { return taps() * tap(); }
    long sums() const { return turned() ? taps() * tap() : filters * filter(); }
};

// The part of a range that lies inside of another one.
struct Range {
    long from, number;
    Range(long least, long end) : from(least), number(std::max(0L, end - least)) {}
};

}  // namespace
