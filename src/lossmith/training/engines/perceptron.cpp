// The training of multilayer perceptrons, one member after another: its parameters and what its optimizer keeps stay in
// the second-level cache for all the batches of a call. `perceptron.py` says what the arguments are, and compiles it.
//
// A matrix is [rows, columns] with its rows filled up by zeros to whole vectors; a weight is [in, out].

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
constexpr int BYTES = 64, WIDEST = 4;
#elif defined(__AVX__)
constexpr int BYTES = 32, WIDEST = 2;
#else
constexpr int BYTES = 16, WIDEST = 4;
#endif
constexpr int DEGREE = 8;

template <class T> struct Vector { typedef T type __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias)); };
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr long LANES = BYTES / sizeof(T);
template <class T> long padded(long columns) { return (columns + LANES<T> - 1) / LANES<T> * LANES<T>; }
template <class T> V<T>& at(T* place) { return *reinterpret_cast<V<T>*>(place); }
template <class T> const V<T>& at(const T* place) { return *reinterpret_cast<const V<T>*>(place); }

extern "C" struct Plan {
    int64_t members, threads, layers, batch, steps, sets, rule_step;
    const int64_t *widths, *relu, *of, *targets;
    const void *inputs, *rule;
    const void* const* masks;
    void *state, *first, *second;
    const double* rates;
    double momentum, weight_decay, clip;
    int64_t adam;
};

// One step of the optimizer for some parameters. Its numbers are PyTorch's, in the order that PyTorch takes them.
template <class T> struct Update {
    T rate, momentum, decay, shrink, root, beta;
    bool adam;

    Update(const Plan& plan, long step)
        : rate(T(plan.rates[3 * step])), momentum(T(plan.momentum)), decay(T(plan.weight_decay)),
          shrink(T(1 - plan.rates[3 * step + 2] * plan.weight_decay)), root(T(plan.rates[3 * step + 1])), beta(T(0.999)),
          adam(plan.adam) {}

    void operator()(T* value, T* first, T* second, V<T> gradient) const {
        if (!adam) {
            const V<T> p = at(value), moved = at(first) * momentum + (gradient + p * decay);
            at(first) = moved;
            at(value) = p - moved * rate;
            return;
        }
        const V<T> one = at(first) + (gradient - at(first)) * (1 - momentum);
        const V<T> two = at(second) * beta + gradient * gradient * (1 - beta);
        V<T> length = two;
        for (long lane = 0; lane < LANES<T>; lane++) length[lane] = std::sqrt(length[lane]);
        at(first) = one;
        at(second) = two;
        at(value) = at(value) * shrink - one * rate / (length * root + T(1e-8));
    }
};

// The product c = a b and what is done with it while it is in registers.
template <class T> struct Product {
    const T* a;      // [rows, depth], its steps from row to row and along a row
    long row, along;
    const T* b;      // [depth, columns]
    long depth, columns;
    T* c;            // [rows, columns]
    const T* start = nullptr;  // a row that is added
    bool relu = false;
    const T* gate = nullptr;   // like c: the product is 0 where it is not above 0
    const Update<T>* update = nullptr;  // c is a parameter, and the product its gradient
    T *first = nullptr, *second = nullptr;

    template <int M, int N> void tile(long i, long j) const {
        V<T> sum[M][N];
        for (int n = 0; n < N; n++)
            for (int m = 0; m < M; m++) sum[m][n] = start ? at(start + j + n * LANES<T>) : V<T>{};
        for (long k = 0; k < depth; k++) {
            V<T> right[N];
            for (int n = 0; n < N; n++) right[n] = at(b + k * columns + j + n * LANES<T>);
            for (int m = 0; m < M; m++) {
                const T left = a[(i + m) * row + k * along];
                for (int n = 0; n < N; n++) sum[m][n] += left * right[n];
            }
        }
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                const long place = (i + m) * columns + j + n * LANES<T>;
                // A number that is none is handed on, as PyTorch does.
                const V<T> seen = gate ? at(gate + place) : sum[m][n];
                if (update) (*update)(c + place, first + place, second + place, sum[m][n]);
                else at(c + place) = relu || gate ? (seen <= T(0) ? V<T>{} : sum[m][n]) : sum[m][n];
            }
    }

    template <int N> void strip(long rows, long j) const {
        for (long i = 0; i < rows;) {
            const long left = rows - i;
            if (N == 1 && left >= 10) tile<N == 1 ? 10 : 6, N>(i, j), i += N == 1 ? 10 : 6;
            else if (left >= 12 || left == 6) tile<6, N>(i, j), i += 6;
            else if (left >= 5) tile<5, N>(i, j), i += 5;
            else if (left >= 2) tile<2, N>(i, j), i += 2;
            else tile<1, N>(i, j), i += 1;
        }
    }

    void operator()(long rows) const {
        long j = 0;
        for (; j + WIDEST * LANES<T> <= columns; j += WIDEST * LANES<T>) strip<WIDEST>(rows, j);
        for (; j + 2 * LANES<T> <= columns; j += 2 * LANES<T>) strip<2>(rows, j);
        for (; j < columns; j += LANES<T>) strip<1>(rows, j);
    }
};

// e^x for x <= 0, lane by lane.
inline V<float> exponential(V<float> x) {
    typedef int32_t Whole __attribute__((vector_size(BYTES)));
    x = x < -87.f ? x * 0 - 87.f : x;
    const Whole whole = __builtin_convertvector(x * 1.44269504f - 0.5f, Whole);
    const V<float> number = __builtin_convertvector(whole, V<float>);
    const V<float> rest = (x - number * 0.693359375f) + number * 2.12194440e-4f;
    V<float> sum = rest * (1.f / 5040) + 1.f / 720;
    for (const float c : {1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2, 1.f, 1.f}) sum = sum * rest + c;
    return sum * (V<float>)((whole + 127) << 23);
}
inline V<double> exponential(V<double> x) {
    for (long lane = 0; lane < LANES<double>; lane++) x[lane] = std::exp(x[lane]);
    return x;
}

template <class T> V<T> polynomial(const T* c, V<T> x) {
    V<T> value = x * c[DEGREE] + c[DEGREE - 1];
    for (int power = DEGREE - 2; power >= 0; power--) value = value * x + c[power];
    return value;
}

template <class T> struct Worker {
    const Plan& plan;
    std::vector<long> weight, bias;   // where each lies in a member's parameters
    std::vector<std::vector<T>> kept;  // of the forward pass
    std::vector<T> slope, below, turned, gradient, columns;
    long size = 0, widest = 0;

    explicit Worker(const Plan& plan) : plan(plan) {
        long largest = 0;
        for (long l = 0; l < plan.layers; l++) {
            const long in = plan.widths[l], out = padded<T>(plan.widths[l + 1]);
            weight.push_back(size), bias.push_back(size + in * out);
            size += (in + 1) * out;
            widest = std::max(widest, out);
            if (l) largest = std::max(largest, plan.widths[l + 1] * padded<T>(in));
            kept.emplace_back(plan.batch * out);
        }
        slope.resize(plan.batch * widest), below.resize(plan.batch * widest), turned.resize(largest);
        columns.resize((plan.widths[plan.layers] + 1) * padded<T>(plan.batch));
        if (plan.clip > 0) gradient.resize(size);
    }

    void masked(T* values, long layer, long step) const {
        const T* mask = static_cast<const T*>(plan.masks[layer]);
        const long width = plan.widths[layer + 1], row = padded<T>(width);
        if (mask)
            for (long i = 0; i < plan.batch; i++)
                for (long j = 0; j < width; j++) values[i * row + j] *= mask[(step * plan.batch + i) * width + j];
    }

    // The gradient with respect to the logits: h_j sum_k g_k - g_j, for slopes g that are polynomials of the output h.
    void differentiate(const T* logits, const int64_t* targets, const T* free) {
        const long batch = plan.batch, classes = plan.widths[plan.layers], row = padded<T>(classes), n = padded<T>(batch);
        const T* const tied = free + DEGREE + 1;
        T* const h = columns.data();
        T* const label = h + classes * n;
        for (long k = 0; k < classes; k++)
            for (long i = 0; i < batch; i++) h[k * n + i] = logits[i * row + k];
        for (long i = 0; i < n; i += LANES<T>) {
            V<T> top = at(h + i), sum{};
            for (long k = 1; k < classes; k++) top = at(h + k * n + i) > top ? at(h + k * n + i) : top;
            for (long k = 0; k < classes; k++) sum += at(h + k * n + i) = exponential(at(h + k * n + i) - top);
            for (long k = 0; k < classes; k++) at(h + k * n + i) /= sum;
        }
        for (long i = 0; i < batch; i++) label[i] = h[targets[i] * n + i];
        for (long i = 0; i < n; i += LANES<T>) {
            const V<T> pull = at(label + i) = polynomial(tied, at(label + i));
            V<T> total = pull;
            for (long k = 0; k < classes; k++) total += polynomial(free, at(h + k * n + i));
            for (long k = 0; k < classes; k++) {
                V<T>& one = at(h + k * n + i);
                one = (one * total - polynomial(free, one)) / T(batch);
            }
        }
        for (long i = 0; i < batch; i++) {
            for (long k = 0; k < row; k++) slope[i * row + k] = k < classes ? h[k * n + i] : T(0);
            slope[i * row + targets[i]] -= label[i] / T(batch);
        }
    }

    void step(long member, long number) {
        const long batch = plan.batch, set = number * plan.sets + plan.of[member];
        const T* const inputs = static_cast<const T*>(plan.inputs) + set * batch * plan.widths[0];
        T *const state = static_cast<T*>(plan.state) + member * size, *const first = static_cast<T*>(plan.first) + member * size;
        T* const second = plan.adam ? static_cast<T*>(plan.second) + member * size : first;
        const auto entering = [&](long l) { return l ? kept[l - 1].data() : inputs; };
        const auto step_of = [&](long l) { return l ? padded<T>(plan.widths[l]) : plan.widths[0]; };
        for (long l = 0; l < plan.layers; l++) {
            Product<T> forward{entering(l), step_of(l), 1, state + weight[l], plan.widths[l], padded<T>(plan.widths[l + 1]), kept[l].data()};
            forward.start = state + bias[l], forward.relu = plan.relu[l];
            forward(batch);
            masked(kept[l].data(), l, number);
        }
        const T* const rule = static_cast<const T*>(plan.rule) + (number * plan.rule_step + member) * 2 * (DEGREE + 1);
        differentiate(kept.back().data(), plan.targets + set * batch, rule);
        const Update<T> update(plan, number);
        for (long l = plan.layers - 1; l >= 0; l--) {
            const long in = plan.widths[l], out = plan.widths[l + 1], row = padded<T>(out), high = step_of(l);
            if (l == plan.layers - 1) {
                if (plan.relu[l])
                    for (long i = 0; i < batch * row; i++) slope[i] = kept[l][i] <= 0 ? T(0) : slope[i];
                masked(slope.data(), l, number);
            }
            if (l) {
                for (long j = 0; j < out; j++)
                    for (long i = 0; i < high; i++) turned[j * high + i] = i < in ? state[weight[l] + i * row + j] : T(0);
                Product<T> back{slope.data(), row, 1, turned.data(), out, high, below.data()};
                back.gate = plan.relu[l - 1] ? kept[l - 1].data() : nullptr;
                back(batch);
                masked(below.data(), l - 1, number);
            }
            Product<T> across{entering(l), 1, high, slope.data(), batch, row, state + weight[l]};
            const bool clipped = plan.clip > 0;
            if (clipped) across.c = gradient.data() + weight[l];
            else across.update = &update, across.first = first + weight[l], across.second = second + weight[l];
            across(in);
            for (long j = 0; j < row; j += LANES<T>) {
                V<T> sum{};
                for (long i = 0; i < batch; i++) sum += at(&slope[i * row + j]);
                const long place = bias[l] + j;
                if (clipped) at(&gradient[place]) = sum;
                else update(state + place, first + place, second + place, sum);
            }
            std::swap(slope, below);
        }
        if (plan.clip > 0) {
            double squares = 0;
            for (const T value : gradient) squares += double(value) * double(value);
            const double factor = plan.clip / (std::sqrt(squares) + 1e-6);
            for (long j = 0; j < size; j += LANES<T>)
                update(state + j, first + j, second + j, at(&gradient[j]) * T(factor < 1 ? factor : 1));
        }
    }
};

template <class T> void train(const Plan& plan) {
    std::atomic<long> next{0};
    const auto work = [&] {
        Worker<T> worker(plan);
        for (long member; (member = next++) < plan.members;)
            for (long number = 0; number < plan.steps; number++) worker.step(member, number);
    };
    std::vector<std::thread> others;
    for (long number = 1; number < std::min(plan.threads, plan.members); number++) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
}

extern "C" void train_float(const Plan* plan) { train<float>(*plan); }
extern "C" void train_double(const Plan* plan) { train<double>(*plan); }
