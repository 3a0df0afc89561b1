// Included by kernels.cpp inside a namespace of the instruction set.

template <class T> static void scatter_rows(const Scatter<T>& s) {
    for (index_t i = 0; i < s.rows; ++i) {
        const T* FASTOPT_RESTRICT from = s.from + i * s.from_ld;
        const T size = s.scale ? s.unit * s.scale[i] : s.unit;
        const std::uint32_t* target = s.target + i * s.nonzeros;
        for (index_t k = 0; k < s.nonzeros; ++k) {
            const T factor = (target[k] & 1u) ? -size : size;
            T* FASTOPT_RESTRICT to = s.to + static_cast<index_t>(target[k] >> 1) * s.to_ld;
            for (index_t j = 0; j < s.cols; ++j) to[j] += factor * from[j];
        }
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
