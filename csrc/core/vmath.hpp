// Elementary functions from + - * / sqrt and bit operations only: branch-free, so that a plain loop
// over them vectorises, and with the same bits on every CPU level and on a GPU (compile with
// -ffp-contract=off; the library's functions differ between machines).
//
// Polynomials: fdlibm (Sun Microsystems, 1993) in double, Cephes (Moshier) in single precision.
// Accuracy, measured by tests/cpp/test_vmath.cpp: below 1 ulp in double for vlog and vexp, absolute
// error below 1.5e-16 for sines and cosines; below 1 ulp and 1.1e-7 in single precision.
#pragma once

#include <math.h>
#include <string.h>

#include "core/types.hpp"

namespace fastopt {

template <class To, class From> FASTOPT_HD To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

FASTOPT_HD double vsqrt(double x) { return ::sqrt(x); }
FASTOPT_HD float vsqrt(float x) { return ::sqrtf(x); }
FASTOPT_HD double vabs(double x) { return ::fabs(x); }
FASTOPT_HD float vabs(float x) { return ::fabsf(x); }

// log(x) for positive, normal, finite x. x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2).
FASTOPT_HD double vlog(double x) {
    constexpr std::uint64_t one = 0x3ff0000000000000u, half_sqrt2 = 0x3fe6a09e00000000u;
    const std::uint64_t u = bits_as<std::uint64_t>(x) + (one - half_sqrt2);
    const double k = bits_as<double>((u >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023);
    const double f = bits_as<double>((u & 0x000fffffffffffffu) + half_sqrt2) - 1.0;
    const double s = f / (2.0 + f), z = s * s, w = z * z, h = 0.5 * f * f;
    const double t1 = w * (3.999999999940941908e-01 +
                           w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const double t2 = z * (6.666666666666735130e-01 +
                           w * (2.857142874366239149e-01 +
                                w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    return s * (h + (t1 + t2)) + k * 1.90821492927058770002e-10 - h + f +
           k * 6.93147180369123816490e-01;
}

FASTOPT_HD float vlog(float x) {
    constexpr std::uint32_t one = 0x3f800000u, half_sqrt2 = 0x3f3504f3u;
    const std::uint32_t u = bits_as<std::uint32_t>(x) + (one - half_sqrt2);
    const float k = static_cast<float>(static_cast<std::int32_t>(u >> 23) - 127);
    const float f = bits_as<float>((u & 0x007fffffu) + half_sqrt2) - 1.0f;
    const float s = f / (2.0f + f), z = s * s, w = z * z, h = 0.5f * f * f;
    const float t1 = w * (0.40000972152f + w * 0.24279078841f);
    const float t2 = z * (0.66666662693f + w * 0.28498786688f);
    return s * (h + (t1 + t2)) + k * 9.0580006145e-06f - h + f + k * 6.9313812256e-01f;
}

// exp(x) for any x: +inf above 709.78 (88.72), 0 below about -707 (-86.6), NaN for NaN.
FASTOPT_HD double vexp(double x) {
    constexpr double magic = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer
    double y = x < -707.0 ? -707.0 : x;
    y = y > 709.8 ? 709.8 : y;
    const double t = y * 1.44269504088896338700 + magic, k = t - magic;
    const double hi = y - k * 6.93147180369123816490e-01, lo = k * 1.90821492927058770002e-10;
    const double r = hi - lo, z = r * r;
    const double c =
        r - z * (1.66666666666666019037e-01 +
                 z * (-2.77777777770155933842e-03 +
                      z * (6.61375632143793436117e-05 +
                           z * (-1.65339022054652515390e-06 + z * 4.13813679705723846039e-08))));
    const double p = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    const double half_scale = bits_as<double>((bits_as<std::uint64_t>(t) + 1022u) << 52);
    const double e = (p * half_scale) * 2.0;
    return x < -707.0 ? 0.0 : (x > 709.782712893383973096 ? HUGE_VAL : e);
}

FASTOPT_HD float vexp(float x) {
    constexpr float magic = 12582912.0f; // 1.5 * 2^23
    float y = x < -86.6f ? -86.6f : x;
    y = y > 88.8f ? 88.8f : y;
    const float t = y * 1.44269504088896341f + magic, k = t - magic;
    const float r = (y - k * 0.693359375f) - k * -2.12194440e-4f;
    const float p = (((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r +
                       4.1665795894e-2f) *
                          r +
                      1.6666665459e-1f) *
                         r +
                     5.0000001201e-1f) *
                        (r * r) +
                    r + 1.0f;
    const float half_scale = bits_as<float>((bits_as<std::uint32_t>(t) + 126u) << 23);
    const float e = (p * half_scale) * 2.0f;
    return x < -86.6f ? 0.0f : (x > 88.7228390520683f ? HUGE_VALF : e);
}

// sin(pi x) and cos(pi x) together. x = q/2 + r with |r| <= 1/4; r is exact. Arguments from 2^50
// (2^21 in single precision) on, which carry no fraction worth the name, count as 0.
FASTOPT_HD void vsincospi(double x, double& sine, double& cosine) {
    constexpr double magic = 6755399441055744.0;
    const double a = vabs(x) < 1125899906842624.0 ? x : 0.0 * x;
    const double t = 2.0 * a + magic;
    const double y = (a - 0.5 * (t - magic)) * 3.14159265358979323846, z = y * y, w = z * z;
    const double sp = 8.33333333332248946124e-03 +
                      z * (-1.98412698298579493134e-04 + z * 2.75573137070700676789e-06) +
                      z * w * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10);
    const double s = y + (z * y) * (-1.66666666666666324348e-01 + z * sp);
    const double cp = z * (4.16666666666666019037e-02 +
                           z * (-1.38888888888741095749e-03 + z * 2.48015872894767294178e-05)) +
                      w * w *
                          (-2.75573143513906633035e-07 +
                           z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11));
    const double h = 0.5 * z, v = 1.0 - h, c = v + (((1.0 - v) - h) + z * cp);
    const std::uint64_t q = bits_as<std::uint64_t>(t), swap = 0u - (q & 1u); // all ones: odd quadrant
    const std::uint64_t sb = bits_as<std::uint64_t>(s), cb = bits_as<std::uint64_t>(c);
    sine = bits_as<double>(((sb & ~swap) | (cb & swap)) ^ ((q & 2u) << 62));
    cosine = bits_as<double>(((cb & ~swap) | (sb & swap)) ^ (((q + 1u) & 2u) << 62));
}

FASTOPT_HD void vsincospi(float x, float& sine, float& cosine) {
    constexpr float magic = 12582912.0f;
    const float a = vabs(x) < 2097152.0f ? x : 0.0f * x;
    const float t = 2.0f * a + magic;
    const float y = (a - 0.5f * (t - magic)) * 3.14159265f, z = y * y;
    const float s = y + (z * y) * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
    const float c = (1.0f - 0.5f * z) + (z * z) * (4.166664568298827e-2f +
                                                  z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
    const std::uint32_t q = bits_as<std::uint32_t>(t), swap = 0u - (q & 1u);
    const std::uint32_t sb = bits_as<std::uint32_t>(s), cb = bits_as<std::uint32_t>(c);
    sine = bits_as<float>(((sb & ~swap) | (cb & swap)) ^ ((q & 2u) << 30));
    cosine = bits_as<float>(((cb & ~swap) | (sb & swap)) ^ (((q + 1u) & 2u) << 30));
}

template <class T> FASTOPT_HD T vsinpi(T x) {
    T s, c;
    vsincospi(x, s, c);
    return s;
}

template <class T> FASTOPT_HD T vcospi(T x) {
    T s, c;
    vsincospi(x, s, c);
    return c;
}

// sin(x), cos(x) through x / pi: absolute error grows as |x| eps.
template <class T> FASTOPT_HD T vsin(T x) { return vsinpi(x * T(0.318309886183790671538)); }
template <class T> FASTOPT_HD T vcos(T x) { return vcospi(x * T(0.318309886183790671538)); }

} // namespace fastopt
