// Philox and Box-Muller, 16 lanes at a time. Included by csrc/kernels.cpp inside the namespace of
// one instruction set, after core/random_functors.inl; every function here is internal to that
// translation unit.

// Sixteen 32-bit words side by side. `mulhilo` is Philox's only operation that compilers do not
// vectorise well; each instruction set has its own, everything else is plain C++.
#if defined(__AVX512F__)
struct Words16 {
    __m512i v;
    static Words16 all(std::uint32_t w) { return {_mm512_set1_epi32(static_cast<int>(w))}; }
    static Words16 load(const std::uint32_t* p) { return {_mm512_loadu_si512(p)}; }
    void store(std::uint32_t* p) const { _mm512_storeu_si512(p, v); }
    Words16 operator^(Words16 o) const { return {_mm512_xor_si512(v, o.v)}; }
    static void mulhilo(Words16 a, std::uint32_t m, Words16& hi, Words16& lo) {
        const __m512i mm = _mm512_set1_epi32(static_cast<int>(m));
        const __m512i even = _mm512_mul_epu32(a.v, mm);
        const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), mm);
        hi.v = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
        lo.v = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    }
};
#elif defined(__AVX2__)
struct Words16 {
    __m256i v[2];
    static Words16 all(std::uint32_t w) {
        const __m256i x = _mm256_set1_epi32(static_cast<int>(w));
        return {{x, x}};
    }
    static Words16 load(const std::uint32_t* p) {
        const __m256i* q = reinterpret_cast<const __m256i*>(p);
        return {{_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)}};
    }
    void store(std::uint32_t* p) const {
        __m256i* q = reinterpret_cast<__m256i*>(p);
        _mm256_storeu_si256(q, v[0]), _mm256_storeu_si256(q + 1, v[1]);
    }
    Words16 operator^(Words16 o) const {
        return {{_mm256_xor_si256(v[0], o.v[0]), _mm256_xor_si256(v[1], o.v[1])}};
    }
    static void mulhilo(Words16 a, std::uint32_t m, Words16& hi, Words16& lo) {
        const __m256i mm = _mm256_set1_epi32(static_cast<int>(m));
        for (int h = 0; h < 2; ++h) {
            const __m256i even = _mm256_mul_epu32(a.v[h], mm);
            const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v[h], 32), mm);
            hi.v[h] = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
            lo.v[h] = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
        }
    }
};
#else
struct Words16 {
    std::uint32_t v[lanes];
    static Words16 all(std::uint32_t w) {
        Words16 r;
        for (int i = 0; i < lanes; ++i) r.v[i] = w;
        return r;
    }
    static Words16 load(const std::uint32_t* p) {
        Words16 r;
        for (int i = 0; i < lanes; ++i) r.v[i] = p[i];
        return r;
    }
    void store(std::uint32_t* p) const {
        for (int i = 0; i < lanes; ++i) p[i] = v[i];
    }
    Words16 operator^(const Words16& o) const {
        Words16 r;
        for (int i = 0; i < lanes; ++i) r.v[i] = v[i] ^ o.v[i];
        return r;
    }
    static void mulhilo(const Words16& a, std::uint32_t m, Words16& hi, Words16& lo) {
        for (int i = 0; i < lanes; ++i) {
            const std::uint64_t p = static_cast<std::uint64_t>(m) * a.v[i];
            hi.v[i] = static_cast<std::uint32_t>(p >> 32);
            lo.v[i] = static_cast<std::uint32_t>(p);
        }
    }
};
#endif

// The words of blocks b0 .. b0 + 15 (b0 a multiple of 16): w[m][i] is word m of block b0 + i.
static void philox_group(const Draw& draw, std::uint64_t b0, std::uint32_t w[4][lanes]) {
    std::uint32_t counter[4], first[lanes];
    counter_of(draw, b0, counter);
    for (int i = 0; i < lanes; ++i) first[i] = counter[0] + static_cast<std::uint32_t>(i);
    Words16 c0 = Words16::load(first), c1 = Words16::all(counter[1]);
    Words16 c2 = Words16::all(counter[2]), c3 = Words16::all(counter[3]);
    std::uint32_t k0 = draw.key.k0, k1 = draw.key.k1;
    for (int r = 0; r < philox::rounds; ++r) {
        Words16 hi0, lo0, hi1, lo1;
        Words16::mulhilo(c0, philox::M0, hi0, lo0);
        Words16::mulhilo(c2, philox::M1, hi1, lo1);
        c0 = hi1 ^ c1 ^ Words16::all(k0);
        c2 = hi0 ^ c3 ^ Words16::all(k1);
        c1 = lo1;
        c3 = lo0;
        k0 += philox::W0;
        k1 += philox::W1;
    }
    c0.store(w[0]), c1.store(w[1]), c2.store(w[2]), c3.store(w[3]);
}

// Group makers: from one group of words to `size` elements.
struct NormalF32 {
    using value = float;
    static constexpr int size = 4 * lanes;
    static void make(const std::uint32_t (*w)[lanes], float* z) {
        for (int p = 0; p < 4; p += 2)
            for (int i = 0; i < lanes; ++i)
                normal_pair(w[p][i], w[p + 1][i], z[lanes * p + i], z[lanes * p + lanes + i]);
    }
};

struct NormalF64 {
    using value = double;
    static constexpr int size = 2 * lanes;
    static void make(const std::uint32_t (*w)[lanes], double* z) {
        for (int i = 0; i < lanes; ++i)
            normal_pair(w[0][i], w[1][i], w[2][i], w[3][i], z[i], z[lanes + i]);
    }
};

struct UniformF32 {
    using value = float;
    static constexpr int size = 4 * lanes;
    static void make(const std::uint32_t (*w)[lanes], float* u) {
        for (int m = 0; m < 4; ++m)
            for (int i = 0; i < lanes; ++i)
                u[lanes * m + i] =
                    (static_cast<float>(static_cast<std::int32_t>(w[m][i] >> 9)) + 0.5f) *
                    1.1920928955078125e-07f; // 2^-23
    }
};

struct UniformF64 {
    using value = double;
    static constexpr int size = 2 * lanes;
    static void make(const std::uint32_t (*w)[lanes], double* u) {
        for (int h = 0; h < 2; ++h)
            for (int i = 0; i < lanes; ++i)
                u[lanes * h + i] = uniform_of(w[2 * h][i], w[2 * h + 1][i]);
    }
};

struct RawWords {
    using value = std::uint32_t;
    static constexpr int size = 4 * lanes;
    static void make(const std::uint32_t (*w)[lanes], std::uint32_t* u) {
        for (int m = 0; m < 4; ++m)
            for (int i = 0; i < lanes; ++i) u[lanes * m + i] = w[m][i];
    }
};

// Elements first .. first + count - 1: whole groups straight into `out`, cut ones through a buffer.
template <class Make>
static void fill(typename Make::value* out, std::uint64_t first, index_t count, const Draw& draw) {
    constexpr std::uint64_t size = Make::size;
    alignas(64) std::uint32_t w[4][lanes];
    alignas(64) typename Make::value group[size];
    const std::uint64_t end = first + static_cast<std::uint64_t>(count);
    for (std::uint64_t g = first / size; g * size < end; ++g) {
        philox_group(draw, g * lanes, w);
        if (g * size >= first && (g + 1) * size <= end) {
            Make::make(w, out + (g * size - first));
            continue;
        }
        Make::make(w, group);
        const std::uint64_t from = g * size < first ? first : g * size;
        const std::uint64_t to = (g + 1) * size < end ? (g + 1) * size : end;
        for (std::uint64_t e = from; e < to; ++e) out[e - first] = group[e - g * size];
    }
}

static const RandomKernels random_table = {fill<NormalF32>, fill<NormalF64>, fill<UniformF32>,
                                           fill<UniformF64>, fill<RawWords>};
