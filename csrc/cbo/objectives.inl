// The native named objectives on the CPU: rows of terms as flat vectorised loops. Included inside
// the namespace of one instruction set, after core/vmath.hpp and cbo/objectives.hpp and after
// cbo/objective_functors.inl, which holds the functions themselves and the order of their sums.

namespace objectives {

// ---- rows ------------------------------------------------------------------------------------

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
        return evaluate<__VA_ARGS__>(x, rows, d, shift, rotation, scratch, f);
        FASTOPT_OBJECTIVES(FASTOPT_OBJECTIVE)
#undef FASTOPT_OBJECTIVE
    }
}

} // namespace objectives

using objectives::evaluate_rows;
