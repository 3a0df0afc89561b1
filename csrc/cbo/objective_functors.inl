// The mathematics of the native named objectives, for every backend. Included inside a namespace,
// after core/vmath.hpp, by cbo/objectives.inl (CPU) and by the GPU kernels.
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

// Every objective as X(name of its ObjectiveId, its struct for a type T).
#define FASTOPT_OBJECTIVES(X)                                                                      \
    X(sphere, Sphere<T>)                                                                           \
    X(ellipsoid, Ellipsoid<T>)                                                                     \
    X(rastrigin, Rastrigin<T, 20>)                                                                 \
    X(rastrigin_mild, Rastrigin<T, 5>)                                                             \
    X(ackley, Ackley<T>)                                                                           \
    X(rosenbrock, Rosenbrock<T>)                                                                   \
    X(griewank, Griewank<T>)                                                                       \
    X(schwefel, Schwefel<T>)                                                                       \
    X(levy, Levy<T>)                                                                               \
    X(michalewicz, Michalewicz<T>)                                                                 \
    X(styblinski_tang, StyblinskiTang<T>)                                                          \
    X(zakharov, Zakharov<T>)                                                                       \
    X(canyon, Canyon<T>)

} // namespace objectives
