// Kernel bodies of consensus-based optimisation on the CPU: what happens to one block of rows. The
// mathematics of one coordinate is in cbo/cbo_functors.inl, which GPU kernels use too. Included,
// after it, by csrc/kernels.cpp for every instruction set.

// ---- helpers ---------------------------------------------------------------------------------

constexpr index_t noise_tile = 2048; // random numbers made at a time: they stay in the L1 cache

// sum_k ((a_k - b_k) scale_k)^2, scale nullptr for ones.
template <class T, bool scaled>
static double squared_distance(const T* FASTOPT_RESTRICT a, const T* FASTOPT_RESTRICT b,
                               const T* FASTOPT_RESTRICT scale, index_t d) {
    double s[sum_lanes] = {};
    index_t k = 0;
    for (; k + sum_lanes <= d; k += sum_lanes)
        for (int l = 0; l < sum_lanes; ++l) {
            double t = static_cast<double>(a[k + l]) - static_cast<double>(b[k + l]);
            if constexpr (scaled) t *= static_cast<double>(scale[k + l]);
            s[l] += t * t;
        }
    for (int l = 0; k < d; ++k, ++l) {
        double t = static_cast<double>(a[k]) - static_cast<double>(b[k]);
        if constexpr (scaled) t *= static_cast<double>(scale[k]);
        s[l] += t * t;
    }
    return tree_sum(s);
}

// Calls f(particle, first coordinate, count, position of its noise) for tiles of particles, after
// `fill` has made the noise of those coordinates: fill(flat index, count, position). Row 0 is
// particle `particle`.
template <class Fill, class Visit>
[[gnu::always_inline]] inline void for_noise_tiles(const index_t* rows, index_t particle, index_t d,
                                                   index_t r0, index_t r1, Fill fill, Visit visit) {
    const index_t width = d < noise_tile ? d : noise_tile;
    const index_t height = rows ? 1 : noise_tile / width;
    for (index_t r = r0; r < r1; r += height) {
        const index_t count = r1 - r < height ? r1 - r : height;
        for (index_t k = 0; k < d; k += width) {
            const index_t n = d - k < width ? d - k : width;
            const index_t first = rows ? rows[r] : r;
            fill(static_cast<std::uint64_t>((particle + first) * d + k), count * n, 0);
            for (index_t j = 0; j < count; ++j) visit(first + j, k, n, j * n);
        }
    }
}

// ---- launchers -------------------------------------------------------------------------------

template <class T, bool isotropic, bool memory, bool gradient, bool clip>
static void move_rows(const Move<T>& m, index_t r0, index_t r1) {
    alignas(64) float xi[noise_tile];
    alignas(64) float zeta[memory ? noise_tile : 1];
    Draw second = m.draw;
    second.stream += 1;
    const DriftDiffusion<T, isotropic> consensus{m.drift, m.diffusion, m.truncation};
    const DriftDiffusion<T, isotropic> personal{m.memory_drift, m.memory_diffusion, m.truncation};
    T to_center = 0, to_best = 0;
    for_noise_tiles(
        m.rows, m.first, m.d, r0, r1,
        [&](std::uint64_t first, index_t count, index_t) {
            fill<NormalF32>(xi, first, count, m.draw);
            if constexpr (memory) fill<NormalF32>(zeta, first, count, second);
        },
        [&](index_t i, index_t k, index_t n, index_t at) {
            T* FASTOPT_RESTRICT x = m.x + i * m.d;
            const T* FASTOPT_RESTRICT c = m.center + i * m.center_stride;
            const T* FASTOPT_RESTRICT y = memory ? m.best + i * m.d : nullptr;
            const T* FASTOPT_RESTRICT g = gradient ? m.gradient + i * m.d : nullptr;
            const T* FASTOPT_RESTRICT lo = m.lower;
            const T* FASTOPT_RESTRICT hi = m.upper;
            if (isotropic && k == 0) {
                to_center =
                    smaller(static_cast<T>(vsqrt(squared_distance<T, false>(x, c, nullptr, m.d))),
                            m.truncation);
                if constexpr (memory)
                    to_best = smaller(
                        static_cast<T>(vsqrt(squared_distance<T, false>(x, y, nullptr, m.d))),
                        m.truncation);
            }
            const float* FASTOPT_RESTRICT z = xi + at;
            const float* FASTOPT_RESTRICT z2 = zeta + (memory ? at : 0);
            x += k, c += k, lo += k, hi += k;
            if constexpr (memory) y += k;
            if constexpr (gradient) g += k;
            for (index_t l = 0; l < n; ++l) {
                T step = consensus(x[l] - c[l], to_center, static_cast<T>(z[l]));
                if constexpr (memory) step += personal(x[l] - y[l], to_best, static_cast<T>(z2[l]));
                if constexpr (gradient) step -= m.gradient_weight * g[l];
                x[l] = bounded(x[l] + step, lo[l], hi[l], clip);
            }
        });
}

template <class T, bool isotropic, bool memory>
static void move_with(const Move<T>& m, index_t r0, index_t r1) {
    if (m.gradient)
        m.clip ? move_rows<T, isotropic, memory, true, true>(m, r0, r1)
               : move_rows<T, isotropic, memory, true, false>(m, r0, r1);
    else
        m.clip ? move_rows<T, isotropic, memory, false, true>(m, r0, r1)
               : move_rows<T, isotropic, memory, false, false>(m, r0, r1);
}

template <class T> static void move(const Move<T>& m, index_t r0, index_t r1) {
    if (m.isotropic)
        m.best ? move_with<T, true, true>(m, r0, r1) : move_with<T, true, false>(m, r0, r1);
    else
        m.best ? move_with<T, false, true>(m, r0, r1) : move_with<T, false, false>(m, r0, r1);
}

template <class T> static void move_along(const Move<T>& m, const T* eta, index_t r0, index_t r1) {
    for (index_t r = r0; r < r1; ++r) {
        const index_t i = m.rows ? m.rows[r] : r;
        T* FASTOPT_RESTRICT x = m.x + i * m.d;
        const T* FASTOPT_RESTRICT c = m.center + i * m.center_stride;
        const T* FASTOPT_RESTRICT e = eta + (r - r0) * m.d;
        for (index_t k = 0; k < m.d; ++k)
            x[k] = bounded(x[k] + (m.diffusion * e[k] - m.drift * (x[k] - c[k])), m.lower[k],
                           m.upper[k], m.clip);
    }
}

template <class T> static void hop(const Move<T>& m, const T* step, index_t r0, index_t r1) {
    alignas(64) float xi[noise_tile];
    for_noise_tiles(
        m.rows, m.first, m.d, r0, r1,
        [&](std::uint64_t first, index_t count, index_t) {
            fill<NormalF32>(xi, first, count, m.draw);
        },
        [&](index_t i, index_t k, index_t n, index_t at) {
            T* FASTOPT_RESTRICT x = m.x + i * m.d + k;
            const T* FASTOPT_RESTRICT c = m.center + i * m.center_stride + k;
            const T* FASTOPT_RESTRICT s = step + k;
            const float* FASTOPT_RESTRICT z = xi + at;
            for (index_t l = 0; l < n; ++l)
                x[l] = bounded(c[l] + s[l] * static_cast<T>(z[l]), m.lower[k + l], m.upper[k + l],
                               m.clip);
        });
}

static void gibbs(const double* FASTOPT_RESTRICT e, index_t n, double alpha, double e_min,
                  double* FASTOPT_RESTRICT w) {
    for (index_t i = 0; i < n; ++i) w[i] = gibbs_weight(e[i], alpha, e_min);
}

static void gibbs_sums(const double* e, index_t n, double alpha, double e_min, double* sums) {
    double s[sum_lanes] = {}, q[sum_lanes] = {};
    index_t i = 0;
    for (; i + sum_lanes <= n; i += sum_lanes)
        for (int l = 0; l < sum_lanes; ++l) {
            const double w = gibbs_weight(e[i + l], alpha, e_min);
            s[l] += w;
            q[l] += w * w;
        }
    for (int l = 0; i < n; ++i, ++l) {
        const double w = gibbs_weight(e[i], alpha, e_min);
        s[l] += w;
        q[l] += w * w;
    }
    sums[0] = tree_sum(s);
    sums[1] = tree_sum(q);
}

template <class T>
static void weighted_sum(const double* w, const T* x, const index_t* rows, index_t d, index_t r0,
                         index_t r1, double* sums) {
    double* FASTOPT_RESTRICT acc = sums + 1;
    for (index_t r = r0; r < r1; ++r) {
        const double wr = w[r];
        if (wr == 0.0) continue;
        const T* FASTOPT_RESTRICT row = x + (rows ? rows[r] : r) * d;
        sums[0] += wr;
        for (index_t k = 0; k < d; ++k) acc[k] += wr * static_cast<double>(row[k]);
    }
}

template <class T>
static void weighted_deviation(const double* w, const T* x, const T* c, index_t d, index_t r0,
                               index_t r1, T* out) {
    for (index_t r = r0; r < r1; ++r) {
        const T root = static_cast<T>(vsqrt(w[r]));
        const T* FASTOPT_RESTRICT row = x + r * d;
        T* FASTOPT_RESTRICT o = out + (r - r0) * d;
        for (index_t k = 0; k < d; ++k) o[k] = root * (row[k] - c[k]);
    }
}

template <class T>
static void polarize(const T* x, const double* e, index_t n, index_t d, double alpha, double e_min,
                     const T* inverse_width, index_t r0, index_t r1, double* scratch, T* centers) {
    for (index_t i = r0; i < r1; ++i) {
        double top = -infinity; // the largest exponent: subtracted, so that no basin underflows
        for (index_t j = 0; j < n; ++j) {
            const double reach =
                -0.5 * squared_distance<T, true>(x + i * d, x + j * d, inverse_width, d);
            const bool counts = e[j] < infinity && reach >= kernel_reach;
            scratch[j] = counts ? reach - alpha * (e[j] - e_min) : -infinity;
            top = larger(top, scratch[j]);
        }
        T* FASTOPT_RESTRICT c = centers + i * d;
        if (!(top > -infinity)) { // no finite value anywhere: stay
            for (index_t k = 0; k < d; ++k) c[k] = x[i * d + k];
            continue;
        }
        for (index_t k = 0; k < d; ++k) c[k] = T(0);
        double total = 0.0;
        for (index_t j = 0; j < n; ++j) total += scratch[j] = vexp(scratch[j] - top);
        for (index_t j = 0; j < n; ++j) {
            const T w = static_cast<T>(scratch[j] / total);
            if (w == T(0)) continue;
            const T* FASTOPT_RESTRICT row = x + j * d;
            for (index_t k = 0; k < d; ++k) c[k] += w * row[k];
        }
    }
}

template <class T>
static void responsibility(const T* x, const T* c, index_t m, index_t d, const T* inverse_width,
                           index_t r0, index_t r1, double* p) {
    for (index_t i = r0; i < r1; ++i) {
        double* row = p + i * m;
        double top = -infinity, total = 0.0;
        for (index_t q = 0; q < m; ++q) {
            row[q] = -0.5 * squared_distance<T, true>(x + i * d, c + q * d, inverse_width, d);
            top = larger(top, row[q]);
        }
        for (index_t q = 0; q < m; ++q) total += row[q] = vexp(row[q] - top);
        for (index_t q = 0; q < m; ++q) row[q] /= total;
    }
}

template <class T> static constexpr CboKernels<T> cbo_table() {
    return {
        evaluate_rows<T>, move<T>,         move_along<T>,         hop<T>,      gibbs,
        gibbs_sums,       weighted_sum<T>, weighted_deviation<T>, polarize<T>, responsibility<T>};
}
