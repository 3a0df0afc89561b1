// The native named objectives. Included inside the namespace of one instruction set, after
// core/vmath.hpp and cbo/objectives.hpp; compiled by g++ for the CPU and, the functions, by nvcc.
//
// A function is a struct of three parts:
//   weight(k, d)        what multiplies coordinate k = 0 .. d - 1 (tabulated; only if `weighted`)
//   term(x, next, w)    what coordinate x = x_k adds to sum a and to sum (or product) b; next =
//   x_{k+1} finish(row)         f from the row's a, b, d, first and last coordinate
// Terms are computed over many rows at once, as one flat vectorised loop. A row's terms are then
// added in 64 / sizeof(T) lanes, lane j taking the coordinates j, j + lanes, ..., and the lanes are
// folded in halves: the order is part of the definition, so every CPU and a GPU give the same bits.

namespace objectives {

// sin(pi x)^2, without the quadrants that vsinpi needs. x = n + r with |r| <= 1/2; r is exact.
// Minimax polynomials for sin(pi r) / r in r^2, relative error 2.6e-19 and 5.3e-9. Arguments that
// carry no fraction (2^51 and 2^22 on) may count as any.
FASTOPT_HD double sinpi_squared(double x) {
    constexpr double magic = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer
    double r = x - ((x + magic) - magic);
    r = r < -0.5 ? -0.5 : r;
    r = r > 0.5 ? 0.5 : r;
    const double z = r * r;
    double p = 7.694727384455914195514e-7;
    p = p * z + -2.190318252814863950951e-5;
    p = p * z + 4.662996887791669329378e-4;
    p = p * z + -7.370430478764629614030e-3;
    p = p * z + 8.214588656989303877404e-2;
    p = p * z + -5.992645293187382613896e-1;
    p = p * z + 2.550164039877293940406;
    p = p * z + -5.167712780049969528687;
    p = p * z + 3.141592653589793237655;
    return z * (p * p);
}

FASTOPT_HD float sinpi_squared(float x) {
    constexpr float magic = 12582912.0f; // 1.5 * 2^23
    float r = x - ((x + magic) - magic);
    r = r < -0.5f ? -0.5f : r;
    r = r > 0.5f ? 0.5f : r;
    const float z = r * r;
    float p = 7.756038679e-2f;
    p = p * z + -5.982421264e-1f;
    p = p * z + 2.550069726f;
    p = p * z + -5.167709685f;
    p = p * z + 3.141592637f;
    return z * (p * p);
}

// 1 - exp(-u) for u >= 0, exact to the last bits near 0 too.
FASTOPT_HD double one_minus_exp(double u) {
    double series = 1.0; // u - u^2/2! + u^3/3! - ..., nested; below 1e-16 at u = 1/2
    for (int n = 15; n > 1; --n) series = 1.0 - series * u * (1.0 / n);
    const double direct = 1.0 - vexp(-u);
    return u < 0.5 ? u * series : direct;
}

template <class T> struct Terms {
    T a, b;
};

struct Row {
    double a, b, d, first, last;
};

template <class T> struct Sum {             // the usual case: f = sum_k term(x_k)
    static constexpr bool weighted = false; // term looks at w
    static constexpr bool coupled =
        false;                         // term looks at x_{k+1}, and the last coordinate has none
    static constexpr bool two = false; // b is used
    static constexpr bool product = false; // b is multiplied up, not added
    static constexpr bool ends = false;    // finish looks at the first and the last coordinate
    FASTOPT_HD static T weight(double, double) { return T(1); }
    FASTOPT_HD static double finish(Row row) { return row.a; }
};

template <class T> struct Sphere : Sum<T> {
    FASTOPT_HD static Terms<T> term(T x, T, T) { return {x * x, T(0)}; }
};

template <class T> struct Ellipsoid : Sum<T> { // sum_k 10^(6 k / (d - 1)) x_k^2
    static constexpr bool weighted = true;
    FASTOPT_HD static T weight(double k, double d) {
        const double decades = 6.0 * k / (d > 1.0 ? d - 1.0 : 1.0);
        return T(vexp(decades * 2.30258509299404568402));
    }
    FASTOPT_HD static Terms<T> term(T x, T, T w) { return {w * (x * x), T(0)}; }
};

// sum_k x_k^2 + A (1 - cos 2 pi x_k), with A given in halves
template <class T, int two_a> struct Rastrigin : Sum<T> {
    FASTOPT_HD static Terms<T> term(T x, T, T) {
        return {x * x + T(two_a) * sinpi_squared(x), T(0)};
    }
};

// 20 (1 - exp(-.2 sqrt(mean x^2))) + e - exp(mean cos 2 pi x), and cos 2t = 1 - 2 sin(t)^2
template <class T> struct Ackley : Sum<T> {
    static constexpr bool two = true;
    FASTOPT_HD static Terms<T> term(T x, T, T) { return {x * x, sinpi_squared(x)}; }
    FASTOPT_HD static double finish(Row row) {
        return 20.0 * one_minus_exp(0.2 * vsqrt(row.a / row.d)) +
               2.71828182845904523536 * one_minus_exp(2.0 * row.b / row.d);
    }
};

template <class T> struct Rosenbrock : Sum<T> { // sum_k 100 (x_{k+1} - x_k^2)^2 + (1 - x_k)^2
    static constexpr bool coupled = true;
    FASTOPT_HD static Terms<T> term(T x, T next, T) {
        const T valley = next - x * x, along = T(1) - x;
        return {T(100) * (valley * valley) + along * along, T(0)};
    }
};

template <class T>
struct Griewank : Sum<T> { // 1 + sum_k x_k^2 / 4000 - prod_k cos(x_k / sqrt(k + 1))
    static constexpr bool weighted = true, two = true, product = true;
    FASTOPT_HD static T weight(double k, double) {
        return T(0.318309886183790671538 / vsqrt(k + 1.0)); // 1 / (pi sqrt(k + 1))
    }
    FASTOPT_HD static Terms<T> term(T x, T, T w) { return {x * x, vcospi(x * w)}; }
    FASTOPT_HD static double finish(Row row) { return row.a / 4000.0 + (1.0 - row.b); }
};

template <class T> struct Schwefel : Sum<T> { // sum_k 418.98... - x_k sin sqrt|x_k|
    FASTOPT_HD static Terms<T> term(T x, T, T) {
        return {T(418.982887272433706279) - x * vsin(vsqrt(vabs(x))), T(0)};
    }
};

// u = (x - 1) / 4, w = 1 + u: sin(pi w_0)^2 + sum_{k < d - 1} u_k^2 (1 + 10 sin(pi w_k + 1)^2)
//                             + u_{d-1}^2 (1 + sin(2 pi w_{d-1})^2)
template <class T> struct Levy : Sum<T> {
    static constexpr bool coupled = true, ends = true;
    FASTOPT_HD static Terms<T> term(T x, T, T) {
        const T u = (x - T(1)) * T(0.25);
        return {(u * u) * (T(1) + T(10) * sinpi_squared(u + T(0.318309886183790671538))), T(0)};
    }
    FASTOPT_HD static double finish(Row row) {
        const double u = (row.first - 1.0) * 0.25, v = (row.last - 1.0) * 0.25;
        return sinpi_squared(u) + row.a + (v * v) * (1.0 + sinpi_squared(2.0 * v));
    }
};

template <class T> struct Michalewicz : Sum<T> { // -sum_k sin(x_k) sin((k + 1) x_k^2 / pi)^20
    static constexpr bool weighted = true;
    FASTOPT_HD static T weight(double k, double) { // (k + 1) / pi^2
        return T((k + 1.0) * 0.101321183642337771444);
    }
    FASTOPT_HD static Terms<T> term(T x, T, T w) {
        const T s2 = sinpi_squared(w * (x * x)), s4 = s2 * s2, s8 = s4 * s4;
        return {vsin(x) * ((s8 * s8) * s4), T(0)};
    }
    FASTOPT_HD static double finish(Row row) { return -row.a; }
};

template <class T> struct StyblinskiTang : Sum<T> { // sum_k (x^4 - 16 x^2 + 5 x) / 2
    FASTOPT_HD static Terms<T> term(T x, T, T) {
        const T q = x * x;
        return {T(0.5) * (q * (q - T(16)) + T(5) * x), T(0)};
    }
};

template <class T> struct Zakharov : Sum<T> { // sum_k x_k^2 + s^2 + s^4, s = sum_k (k + 1) x_k / 2
    static constexpr bool weighted = true, two = true;
    FASTOPT_HD static T weight(double k, double) { return T(0.5 * (k + 1.0)); }
    FASTOPT_HD static Terms<T> term(T x, T, T w) { return {x * x, w * x}; }
    FASTOPT_HD static double finish(Row row) {
        const double q = row.b * row.b;
        return row.a + (q + q * q);
    }
};

// The two-dimensional canyon of Riedl et al., "Gradient is All You Need?"; formula in problems.py.
template <class T> struct Canyon : Sum<T> {
    static constexpr bool ends = true;
    FASTOPT_HD static Terms<T> term(T, T, T) { return {T(0), T(0)}; }
    FASTOPT_HD static double finish(Row row) {
        const double x = row.first, y = row.last, x2 = x * x;
        const double v = y - (x - 1.0) * ((x - 4.0) * (x - 4.0)) / 8.0 - 2.0, b = -x - 1.6 * y;
        const double v2 = v * v, wall = one_minus_exp(1.4 * v2 * vexp(-0.002 * (x2 * x2)));
        const double gate = one_minus_exp(9.0 * (b * b)), open = b > 0.0 ? gate : 0.0;
        const double waves = sinpi_squared(0.375 * x) + sinpi_squared(0.375 * y);
        return 25.0 * wall + 0.4 * x2 + 0.2 * (y * y) + 2.325 * waves +
               4.0 * vexp(1.0 - 2.0 * (v2 * v2)) * open;
    }
};

// ---- rows
// ----------------------------------------------------------------------------------------

constexpr index_t pad =
    16; // slack behind every buffer: loops run to the next multiple of the lanes

// lane[0] with all the others folded in: halves onto halves.
template <bool product, class T, int n> FASTOPT_HD T fold(const T (&lane)[n]) {
    if constexpr (n == 1) {
        return lane[0];
    } else {
        T half[n / 2];
        for (int j = 0; j < n / 2; ++j)
            half[j] = product ? lane[j] * lane[j + n / 2] : lane[j] + lane[j + n / 2];
        return fold<product>(half);
    }
}

// Running sums (products) of a row in lanes.
template <class T, bool product> struct Lanes {
    static constexpr int count = 64 / static_cast<int>(sizeof(T));
    T lane[count];

    FASTOPT_HD Lanes() {
        for (int j = 0; j < count; ++j) lane[j] = product ? T(1) : T(0);
    }
    // Takes in t[0 .. n - 1]; reads on to a multiple of the lanes.
    FASTOPT_HD void take(const T* t, index_t n) {
        const index_t full = n / count * count;
        for (index_t k = 0; k < full; k += count)
            for (int j = 0; j < count; ++j)
                lane[j] = product ? lane[j] * t[k + j] : lane[j] + t[k + j];
        const int rest = static_cast<int>(n - full);
        if (rest == 0) return;
        for (int j = 0; j < count; ++j) {
            const T value = t[full + j], kept = j < rest ? value : (product ? T(1) : T(0));
            lane[j] = product ? lane[j] * kept : lane[j] + kept;
        }
    }
    FASTOPT_HD double total() const { return static_cast<double>(fold<product>(lane)); }
};

// Everything that a pass over at most `objective_chunk` coordinates needs.
template <class T> struct Workspace {
    alignas(64) T a[objective_chunk + pad], b[objective_chunk + pad],
        weights[objective_chunk + pad];
    alignas(64) T copy[objective_chunk + 2 * pad];
    alignas(64) double sum_a[objective_chunk + pad], sum_b[objective_chunk + pad];
    alignas(64) double first[objective_chunk + pad], last[objective_chunk + pad];
};

template <class F, class T>
static void tabulate(index_t from, index_t n, index_t d, T* FASTOPT_RESTRICT weights) {
    const double start = static_cast<double>(from), dim = static_cast<double>(d);
    const int count = static_cast<int>(n);
    for (int k = 0; k < count; ++k) weights[k] = F::weight(start + static_cast<double>(k), dim);
}

// a[k], b[k] for k < n, and on to a multiple of the lanes; `readable` elements of x may be read.
template <class F, class T>
static void terms(const T* x, index_t n, index_t readable, Workspace<T>& work) {
    const index_t blocks = (n + pad - 1) / pad;
    if (readable < blocks * pad + 1) {
        for (index_t k = 0; k < readable; ++k) work.copy[k] = x[k];
        for (index_t k = readable; k < blocks * pad + 1; ++k) work.copy[k] = T(0);
        x = work.copy;
    }
    const T* FASTOPT_RESTRICT p = x;
    for (index_t k = 0; k < blocks * pad; ++k) {
        const Terms<T> t =
            F::term(p[k], F::coupled ? p[k + 1] : T(0), F::weighted ? work.weights[k] : T(1));
        work.a[k] = t.a;
        if (F::two) work.b[k] = t.b;
    }
}

// A row longer than the chunk, piece by piece.
template <class F, class T>
static void long_row(const T* x, index_t d, index_t readable, Workspace<T>& work) {
    Lanes<T, false> a;
    Lanes<T, F::product> b;
    for (index_t from = 0; from < d; from += objective_chunk) {
        const index_t n = d - from < objective_chunk ? d - from : objective_chunk;
        const index_t used = F::coupled && from + n == d ? n - 1 : n;
        if (F::weighted) tabulate<F>(from, n, d, work.weights);
        terms<F>(x + from, n, readable - from, work);
        a.take(work.a, used);
        if (F::two) b.take(work.b, used);
    }
    work.sum_a[0] = a.total();
    if (F::two) work.sum_b[0] = b.total();
}

// Rows that fit into the chunk together.
template <class F, class T>
static void short_rows(const T* x, index_t rows, index_t d, index_t readable, Workspace<T>& work) {
    terms<F>(x, rows * d, readable, work);
    const index_t used = F::coupled ? d - 1 : d;
    for (index_t i = 0; i < rows; ++i) {
        Lanes<T, false> a;
        a.take(work.a + i * d, used);
        work.sum_a[i] = a.total();
        if (F::two) {
            Lanes<T, F::product> b;
            b.take(work.b + i * d, used);
            work.sum_b[i] = b.total();
        }
    }
}

template <class F, class T>
static void finish_rows(const T* x, index_t rows, index_t d, Workspace<T>& work, double* f) {
    if (F::ends)
        for (index_t i = 0; i < rows; ++i) {
            work.first[i] = static_cast<double>(x[i * d]);
            work.last[i] = static_cast<double>(x[i * d + d - 1]);
        }
    for (index_t i = 0; i < rows; ++i)
        f[i] = F::finish({work.sum_a[i], F::two ? work.sum_b[i] : 0.0, static_cast<double>(d),
                          F::ends ? work.first[i] : 0.0, F::ends ? work.last[i] : 0.0});
}

// z = R (x - shift) for `rows` rows, or x - shift without a rotation. With one, up to 32 points lie
// side by side, so that each coefficient of R meets a vector; sums run over the columns in order.
template <class T>
static void transform(const T* x, index_t rows, index_t d, const T* shift, const T* rotation,
                      T* z) {
    if (!rotation) {
        for (index_t i = 0; i < rows; ++i)
            for (index_t k = 0; k < d; ++k) z[i * d + k] = x[i * d + k] - shift[k];
        return;
    }
    constexpr index_t width = 32;
    const index_t points = (rows + 7) / 8 * 8;
    T* FASTOPT_RESTRICT y = z + (8 * d > objective_chunk ? 8 * d : objective_chunk) + pad;
    for (index_t k = 0; k < d; ++k) {
        for (index_t i = 0; i < rows; ++i)
            y[k * points + i] = x[i * d + k] - (shift ? shift[k] : T(0));
        for (index_t i = rows; i < points; ++i) y[k * points + i] = T(0);
    }
    for (index_t k = 0; k < d; ++k) {
        alignas(64) T sum[width] = {};
        const T* r = rotation + k * d;
        index_t j = 0;
        for (; j + 4 <= d; j += 4) {
            const T r0 = r[j], r1 = r[j + 1], r2 = r[j + 2], r3 = r[j + 3];
            const T *y0 = y + j * points, *y1 = y0 + points, *y2 = y1 + points, *y3 = y2 + points;
            for (index_t i = 0; i < points; ++i)
                sum[i] = (((sum[i] + r0 * y0[i]) + r1 * y1[i]) + r2 * y2[i]) + r3 * y3[i];
        }
        for (; j < d; ++j)
            for (index_t i = 0; i < points; ++i) sum[i] += r[j] * y[j * points + i];
        for (index_t i = 0; i < rows; ++i) z[i * d + k] = sum[i];
    }
}

template <class F, class T>
static void evaluate(const T* x, index_t rows, index_t d, const T* shift, const T* rotation,
                     T* scratch, double* f) {
    Workspace<T> work;
    const bool is_short = d <= objective_chunk, moved = shift || rotation;
    const index_t together = is_short ? objective_chunk / d : 1; // rows that make one pass
    index_t batch = together; // rows that are transformed at once
    if (rotation) batch = batch > 32 ? 32 : (batch < 8 ? 8 : batch / 8 * 8);
    if (F::weighted && is_short) {
        const index_t repeat = rows < together ? rows : together;
        tabulate<F>(0, d, d, work.weights);
        for (index_t k = d; k < repeat * d; ++k) work.weights[k] = work.weights[k - d];
        for (index_t k = repeat * d; k < repeat * d + pad; ++k) work.weights[k] = T(0);
    }
    for (index_t i = 0; i < rows; i += batch) {
        const index_t n = rows - i < batch ? rows - i : batch;
        const T* z = x + i * d;
        index_t readable = (rows - i) * d;
        if (moved) {
            transform(z, n, d, shift, rotation, scratch);
            for (index_t k = n * d; k < n * d + pad; ++k) scratch[k] = T(0);
            z = scratch, readable = n * d + pad;
        }
        if (is_short && n <= together) {
            short_rows<F>(z, n, d, readable, work);
            finish_rows<F>(z, n, d, work, f + i);
        } else {
            for (index_t row = 0; row < n; ++row) {
                if (is_short)
                    short_rows<F>(z + row * d, 1, d, readable - row * d, work);
                else
                    long_row<F>(z + row * d, d, readable - row * d, work);
                finish_rows<F>(z + row * d, 1, d, work, f + i + row);
            }
        }
    }
}

// f[i] = F(R (x_i - shift)) for rows i of x; shift and rotation (row-major) may be null. `scratch`
// holds objective_scratch(d, shift != null, rotation != null) elements.
template <class T>
static void evaluate_rows(ObjectiveId id, const T* x, index_t rows, index_t d, const T* shift,
                          const T* rotation, T* scratch, double* f) {
    switch (id) {
#define FASTOPT_OBJECTIVE(name, ...)                                                               \
    case ObjectiveId::name:                                                                        \
        return evaluate<__VA_ARGS__>(x, rows, d, shift, rotation, scratch, f)
        FASTOPT_OBJECTIVE(sphere, Sphere<T>);
        FASTOPT_OBJECTIVE(ellipsoid, Ellipsoid<T>);
        FASTOPT_OBJECTIVE(rastrigin, Rastrigin<T, 20>);
        FASTOPT_OBJECTIVE(rastrigin_mild, Rastrigin<T, 5>);
        FASTOPT_OBJECTIVE(ackley, Ackley<T>);
        FASTOPT_OBJECTIVE(rosenbrock, Rosenbrock<T>);
        FASTOPT_OBJECTIVE(griewank, Griewank<T>);
        FASTOPT_OBJECTIVE(schwefel, Schwefel<T>);
        FASTOPT_OBJECTIVE(levy, Levy<T>);
        FASTOPT_OBJECTIVE(michalewicz, Michalewicz<T>);
        FASTOPT_OBJECTIVE(styblinski_tang, StyblinskiTang<T>);
        FASTOPT_OBJECTIVE(zakharov, Zakharov<T>);
        FASTOPT_OBJECTIVE(canyon, Canyon<T>);
#undef FASTOPT_OBJECTIVE
    }
}

} // namespace objectives

using objectives::evaluate_rows;
