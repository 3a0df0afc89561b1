// Included by kernels.cpp inside a namespace of the instruction set.

static inline void prefetch_row(const void* p, index_t bytes, bool write) {
    const char* at = static_cast<const char*>(p);
    for (index_t b = 0; b < bytes; b += 64) {
        if (write)
            __builtin_prefetch(at + b, 1, 3);
        else
            __builtin_prefetch(at + b, 0, 3);
    }
}

// One source row into `count` destination rows, which differ. Four at a time share the loads.
template <class T>
static inline void scatter_four(const T* FASTOPT_RESTRICT x, index_t n, T size,
                                const std::uint32_t* target, T* to, index_t ld) {
    T* FASTOPT_RESTRICT a = to + static_cast<index_t>(target[0] >> 1) * ld;
    T* FASTOPT_RESTRICT b = to + static_cast<index_t>(target[1] >> 1) * ld;
    T* FASTOPT_RESTRICT c = to + static_cast<index_t>(target[2] >> 1) * ld;
    T* FASTOPT_RESTRICT d = to + static_cast<index_t>(target[3] >> 1) * ld;
    const T sa = (target[0] & 1u) ? -size : size, sb = (target[1] & 1u) ? -size : size;
    const T sc = (target[2] & 1u) ? -size : size, sd = (target[3] & 1u) ? -size : size;
    for (index_t j = 0; j < n; ++j) {
        const T v = x[j];
        a[j] += sa * v;
        b[j] += sb * v;
        c[j] += sc * v;
        d[j] += sd * v;
    }
}

template <class T>
static inline void scatter_one(const T* FASTOPT_RESTRICT x, index_t n, T size, std::uint32_t target,
                               T* to, index_t ld) {
    T* FASTOPT_RESTRICT a = to + static_cast<index_t>(target >> 1) * ld;
    const T s = (target & 1u) ? -size : size;
    for (index_t j = 0; j < n; ++j) a[j] += s * x[j];
}

template <class T> static void scatter_rows(const Scatter<T>& s) {
    constexpr index_t ahead = 2; // rows whose lines are asked for early
    const index_t bytes = s.cols * static_cast<index_t>(sizeof(T));
    for (index_t i = 0; i < s.rows; ++i) {
        const std::uint32_t* target = s.target + i * s.nonzeros;
        if (i + ahead < s.rows) {
            prefetch_row(s.from + (i + ahead) * s.from_ld, bytes, false);
            for (index_t k = 0; k < s.nonzeros; ++k) {
                const index_t row = static_cast<index_t>(target[ahead * s.nonzeros + k] >> 1);
                prefetch_row(s.to + row * s.to_ld, bytes, true);
            }
        }
        const T* from = s.from + i * s.from_ld;
        const T size = s.scale ? s.unit * s.scale[i] : s.unit;
        index_t k = 0;
        for (; k + 4 <= s.nonzeros; k += 4)
            scatter_four(from, s.cols, size, target + k, s.to, s.to_ld);
        for (; k < s.nonzeros; ++k) scatter_one(from, s.cols, size, target[k], s.to, s.to_ld);
    }
}

template <class T> static void hadamard_butterfly(T* x, T* y, index_t n) {
    T* FASTOPT_RESTRICT a = x;
    T* FASTOPT_RESTRICT b = y;
    for (index_t i = 0; i < n; ++i) {
        const T u = a[i], v = b[i];
        a[i] = u + v;
        b[i] = u - v;
    }
}

template <class T> static constexpr SketchKernels<T> sketch_table() {
    return {scatter_rows<T>, hadamard_butterfly<T>};
}
