// From random words to numbers, one Box-Muller pair at a time: the part of the random arrays that
// every backend shares. Included inside a namespace by core/random.inl and by GPU kernels.

constexpr int lanes = 16; // blocks of a group; see core/random.hpp for who uses which word

// Two float normals from a radius word and an angle word.
FASTOPT_HD void normal_pair(std::uint32_t radius_word, std::uint32_t angle_word, float& a,
                            float& b) {
    const float u = (static_cast<float>(static_cast<std::int32_t>(radius_word >> 1)) + 0.5f) *
                    4.656612873077392578125e-10f; // 2^-31
    const float radius = vsqrt(-2.0f * vlog(u));
    float s, c;
    vsincospi(static_cast<float>(static_cast<std::int32_t>(angle_word)) *
                  4.656612873077392578125e-10f,
              s, c);
    a = radius * c;
    b = radius * s;
}

// 52 random bits in [1, 2), minus one, plus half a step: inside (0, 1).
FASTOPT_HD double uniform_of(std::uint32_t high, std::uint32_t low) {
    const std::uint64_t mantissa = (static_cast<std::uint64_t>(high) << 20) | (low >> 12);
    return (bits_as<double>(mantissa | 0x3ff0000000000000u) - 1.0) + 1.1102230246251565404e-16;
}

// Two double normals from two radius words and two angle words.
FASTOPT_HD void normal_pair(std::uint32_t radius_high, std::uint32_t radius_low,
                            std::uint32_t angle_high, std::uint32_t angle_low, double& a,
                            double& b) {
    const double radius = vsqrt(-2.0 * vlog(uniform_of(radius_high, radius_low)));
    double s, c;
    vsincospi(2.0 * uniform_of(angle_high, angle_low), s, c);
    a = radius * c;
    b = radius * s;
}
