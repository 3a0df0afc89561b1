// The mathematics of admm_relu's loops, one number at a time, for every backend. Included inside a
// namespace, after core/vmath.hpp, by admm_steps.cpp (CPU) and by admm_steps.cu. Scalars are
// doubles, so that the structs, which are arguments of kernels, have no gaps. "Bytes" of `count`
// items, as in admm_cuda.cuh.

// to = from, numbers of `from` and `to` bytes. Bytes: reads from count; writes to count.
template <class A, class B> struct Convert {
    const A* from;
    B* to;
    FASTOPT_HD void operator()(index_t i) const { to[i] = static_cast<B>(from[i]); }
};

// out = a - b. Bytes: reads 2 T count; writes T count.
template <class T> struct Subtract {
    const T* a;
    const T* b;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] - b[i]; }
};

// out = a + b. Bytes: reads 2 T count; writes T count.
template <class T> struct Add {
    const T* a;
    const T* b;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] + b[i]; }
};

// out = s x. Bytes: reads 8 count; writes 8 count.
struct Scale {
    double s;
    const double* x;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = s * x[i]; }
};

// out = s (a - b). Bytes: reads 16 count; writes 8 count.
struct ScaledDifference {
    double s;
    const double* a;
    const double* b;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = s * (a[i] - b[i]); }
};

// out = 2 x - r. Bytes: reads 16 count; writes T count.
template <class T> struct Reflect {
    const double* x;
    const double* r;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = static_cast<T>(2 * x[i] - r[i]); }
};

// rn = r + factor (u - x). Bytes: reads (2 T + 8) count; writes T count.
template <class T> struct Relax {
    double factor;
    const T* r;
    const T* u;
    const double* x;
    T* rn;
    FASTOPT_HD void operator()(index_t i) const {
        rn[i] = r[i] + static_cast<T>(factor) * (u[i] - static_cast<T>(x[i]));
    }
};

// g = x - g / rho. Bytes: reads 16 count; writes 8 count.
struct GradientStep {
    double rho;
    const double* x;
    double* g;
    FASTOPT_HD void operator()(index_t i) const { g[i] = x[i] - g[i] / rho; }
};

// r = f + t / rho. Bytes: reads 16 count; writes T count.
template <class T> struct AddMultiplier {
    double rho;
    const double* f;
    const double* t;
    T* r;
    FASTOPT_HD void operator()(index_t i) const { r[i] = static_cast<T>(f[i] + t[i] / rho); }
};

// out = a + t (b - a). Bytes: reads 16 count; writes 8 count.
struct Between {
    double t;
    const double* a;
    const double* b;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] + t * (b[i] - a[i]); }
};

// r = x + (rn - x) / factor. Bytes: reads (8 + T) count; writes T count.
template <class T> struct Rescale {
    double factor;
    const double* x;
    const T* rn;
    T* r;
    FASTOPT_HD void operator()(index_t i) const {
        r[i] = static_cast<T>(x[i] + (static_cast<double>(rn[i]) - x[i]) / factor);
    }
};

// e += s x. Bytes: reads 2 T count; writes T count.
template <class T> struct AddScaled {
    double s;
    const T* x;
    T* e;
    FASTOPT_HD void operator()(index_t i) const { e[i] += static_cast<T>(s) * x[i]; }
};

// y = x + s y. Bytes: reads 2 T count; writes T count.
template <class T> struct ScaleAndAdd {
    double s;
    const T* x;
    T* y;
    FASTOPT_HD void operator()(index_t i) const { y[i] = x[i] + static_cast<T>(s) * y[i]; }
};

// x_k += alpha_k q_k, r_k -= alpha_k g_k of `rows` rows of n numbers that all move.
// Bytes: reads 4 T rows n + 16 rows; writes 2 T rows n.
template <class T> struct AdvanceRows {
    index_t n;
    const double* rho;
    const double* curvature;
    const T* q;
    const T* g;
    T* x;
    T* r;
    FASTOPT_HD void operator()(index_t i) const {
        const double a = rho[i / n], b = curvature[i / n];
        if (!(a > 0) || !(b > 0)) return;
        const T alpha = static_cast<T>(a / b);
        x[i] += alpha * q[i];
        r[i] -= alpha * g[i];
    }
};

// q_k = y_k + next_k / rho_k q_k of `rows` rows of n numbers.
// Bytes: reads 2 T rows n + 16 rows; writes T rows n.
template <class T> struct TurnRows {
    index_t n;
    const double* rho;
    const double* next;
    const T* y;
    T* q;
    FASTOPT_HD void operator()(index_t i) const {
        const double last = rho[i / n];
        const T ratio = last > 0 ? static_cast<T>(next[i / n] / last) : T(0);
        q[i] = y[i] + ratio * q[i];
    }
};

// to = from' of matrices side by side, rows x columns. Bytes: reads T count; writes T count.
template <class T> struct Transpose {
    index_t rows, columns;
    const T* from;
    T* to;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t size = rows * columns, first = at / size * size, rest = at - first;
        to[at] = from[first + rest % rows * columns + rest / rows];
    }
};

// u_1 = a_1 + s g, and where there are `two` halves u_2 = a_2 - s g.
// Bytes: reads T count (2 + two); writes T count (1 + two).
template <class T> struct StepHalves {
    double s;
    index_t half, signs;
    const T* a;
    const T* g;
    T* u;
    FASTOPT_HD void operator()(index_t i) const {
        const T step = static_cast<T>(s) * g[i];
        u[i] = a[i] + step;
        if (signs == 2) u[half + i] = a[half + i] - step;
    }
};

// u_1, u_2 = (a_1 + a_2 +- delta) / 2; where there are not `two` halves, delta.
// Bytes: reads T count (1 + 2 two); writes T count (1 + two).
template <class T> struct JoinHalves {
    index_t half, signs;
    const T* a;
    const T* delta;
    T* u;
    FASTOPT_HD void operator()(index_t i) const {
        if (signs == 1) {
            u[i] = delta[i];
            return;
        }
        const T sum = a[i] + a[half + i];
        u[i] = T(0.5) * (sum + delta[i]);
        u[half + i] = T(0.5) * (sum - delta[i]);
    }
};

// Anderson: g and rn step on, their differences stay. Bytes: reads 4 T count; writes 4 T count.
template <class T> struct NextDifferences {
    const T* rn;
    T* last_rn;
    T* last_g;
    T* dg; // holds g
    T* dr;
    FASTOPT_HD void operator()(index_t i) const {
        const T g = dg[i];
        dg[i] = g - last_g[i];
        last_g[i] = g;
        dr[i] = rn[i] - last_rn[i];
        last_rn[i] = rn[i];
    }
};

// prox of level ||.||: what a block of this norm is multiplied with.
FASTOPT_HD double shrink_factor(double norm, double level) {
    return norm > level ? 1 - level / norm : 0.0;
}

// Hashes: FNV-1a over whole words.
constexpr std::uint64_t hash_start = 1469598103934665603u;
FASTOPT_HD std::uint64_t mixed(std::uint64_t h, std::uint64_t word) {
    return (h ^ word) * 1099511628211u;
}
