// The elementary functions against long double, and their special values. These are the bounds that
// core/vmath.hpp states.
#include "core/vmath.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using namespace fastopt;

namespace {

using Long = long double;
constexpr Long pi = 3.14159265358979323846264338327950288L;
constexpr int samples = 300000;

// Distance from the exact value in units of the last place of T.
template <class T> double ulps(T got, Long exact) {
    const T rounded = static_cast<T>(exact);
    const T next = std::nextafter(std::fabs(rounded), std::numeric_limits<T>::infinity());
    const Long unit = static_cast<Long>(next) - static_cast<Long>(std::fabs(rounded));
    return static_cast<double>(std::fabs(static_cast<Long>(got) - exact) / unit);
}

// sin(pi x) exactly as far as long double goes: the reduction of x is exact.
Long sinpi_exact(Long x) {
    Long r = x - 2 * std::floor(x / 2 + 0.5L); // in [-1, 1]
    if (r > 0.5L) r = 1 - r;
    if (r < -0.5L) r = -1 - r;
    return std::fabs(r) <= 0.25L ? std::sin(pi * r)
                                 : std::copysign(std::cos(pi * (0.5L - std::fabs(r))), r);
}
Long cospi_exact(Long x) {
    Long r = std::fabs(x - 2 * std::floor(x / 2 + 0.5L)); // in [0, 1]
    const Long sign = r > 0.5L ? -1 : 1;
    if (r > 0.5L) r = 1 - r;
    return sign * (r <= 0.25L ? std::cos(pi * r) : std::sin(pi * (0.5L - r)));
}

template <class T> double worst_log() {
    std::mt19937_64 gen(1);
    double worst = 0;
    const auto look = [&](T x) {
        if (x < std::numeric_limits<T>::min() || !std::isfinite(x)) return;
        worst = std::max(worst, ulps(vlog(x), std::log(static_cast<Long>(x))));
    };
    std::uniform_real_distribution<double> exponent(std::numeric_limits<T>::min_exponent,
                                                    std::numeric_limits<T>::max_exponent);
    std::uniform_real_distribution<double> unit(0.0, 1.0), near_one(0.5, 2.0);
    for (int i = 0; i < samples; ++i) {
        look(static_cast<T>(std::exp2(exponent(gen))));
        look(static_cast<T>(unit(gen)));
        look(static_cast<T>(near_one(gen)));
    }
    T x = 1;
    for (int i = 0; i < 200; ++i) look(x = std::nextafter(x, T(0)));
    x = 1;
    for (int i = 0; i < 200; ++i) look(x = std::nextafter(x, T(2)));
    return worst;
}

template <class T> double worst_exp(double lo, double hi) {
    std::mt19937_64 gen(2);
    std::uniform_real_distribution<double> wide(lo, hi), narrow(-1.0, 1.0);
    double worst = 0;
    for (int i = 0; i < samples; ++i)
        for (const double x : {wide(gen), narrow(gen)}) {
            const T t = static_cast<T>(x);
            worst = std::max(worst, ulps(vexp(t), std::exp(static_cast<Long>(t))));
        }
    return worst;
}

template <class T> double worst_sincospi(double range) {
    std::mt19937_64 gen(3);
    std::uniform_real_distribution<double> wide(-range, range), narrow(-1.0, 1.0);
    double worst = 0;
    for (int i = 0; i < samples; ++i)
        for (const double x : {wide(gen), narrow(gen)}) {
            const T t = static_cast<T>(x);
            T s, c;
            vsincospi(t, s, c);
            const Long es = std::fabs(static_cast<Long>(s) - sinpi_exact(t));
            const Long ec = std::fabs(static_cast<Long>(c) - cospi_exact(t));
            worst = std::max({worst, static_cast<double>(es), static_cast<double>(ec)});
        }
    return worst;
}

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
constexpr float inf_f = std::numeric_limits<float>::infinity();
constexpr float undefined_f = std::numeric_limits<float>::quiet_NaN();

} // namespace

TEST_CASE("vlog is within 1 ulp") {
    CHECK(worst_log<double>() < 1.0);
    CHECK(worst_log<float>() < 1.0);
}

TEST_CASE("vlog at special points") {
    CHECK(vlog(1.0) == 0.0);
    CHECK(vlog(1.0f) == 0.0f);
    for (int k = -1022; k <= 1023; ++k) {
        CAPTURE(k);
        CHECK(ulps(vlog(std::ldexp(1.0, k)), k * std::log(2.0L)) < 1.0);
    }
    for (int k = -126; k <= 127; ++k) {
        CAPTURE(k);
        CHECK(ulps(vlog(std::ldexp(1.0f, k)), k * std::log(2.0L)) < 1.0);
    }
    CHECK(vlog(std::numeric_limits<double>::max()) == doctest::Approx(709.782712893384));
}

TEST_CASE("vexp is within 1 ulp") {
    CHECK(worst_exp<double>(-706.9, 709.78) < 1.0);
    CHECK(worst_exp<float>(-86.5, 88.72) < 1.0);
}

TEST_CASE("vexp at special points") {
    CHECK(vexp(0.0) == 1.0);
    CHECK(vexp(-0.0) == 1.0);
    CHECK(vexp(inf) == inf);
    CHECK(vexp(710.0) == inf);
    CHECK(vexp(1e300) == inf);
    CHECK(vexp(-inf) == 0.0);
    CHECK(vexp(-1e300) == 0.0);
    CHECK(vexp(-708.0) == 0.0);
    CHECK(std::isnan(vexp(undefined)));
    CHECK(std::isfinite(vexp(709.782712893383973096)));
    CHECK(vexp(0.0f) == 1.0f);
    CHECK(vexp(inf_f) == inf_f);
    CHECK(vexp(89.0f) == inf_f);
    CHECK(vexp(-inf_f) == 0.0f);
    CHECK(vexp(-90.0f) == 0.0f);
    CHECK(std::isnan(vexp(undefined_f)));
    CHECK(std::isfinite(vexp(88.72283f)));
}

TEST_CASE("vexp never decreases") {
    std::mt19937_64 gen(4);
    std::uniform_real_distribution<double> wide(-720.0, 715.0);
    for (int i = 0; i < samples; ++i) {
        const double x = wide(gen), y = x + 4e-16 * std::fabs(x) + 1e-300;
        CHECK_FALSE(vexp(x) > vexp(y) * (1 + 3e-16));
    }
}

TEST_CASE("sines and cosines: absolute error") {
    CHECK(worst_sincospi<double>(1.0) < 1.5e-16);
    CHECK(worst_sincospi<double>(1e6) < 1.5e-16);
    CHECK(worst_sincospi<double>(1e14) < 1.5e-16);
    CHECK(worst_sincospi<float>(1.0) < 1.1e-7);
    CHECK(worst_sincospi<float>(1e3) < 1.1e-7);
    CHECK(worst_sincospi<float>(2e6) < 1.1e-7);
}

TEST_CASE("sines and cosines at multiples of a half are exact") {
    for (int n = -1000; n <= 1000; ++n) {
        const double x = 0.5 * n;
        const int quarter = ((n % 4) + 4) % 4;
        const double s = quarter == 1 ? 1 : (quarter == 3 ? -1 : 0);
        const double c = quarter == 0 ? 1 : (quarter == 2 ? -1 : 0);
        CAPTURE(x);
        CHECK(vsinpi(x) == s);
        CHECK(vcospi(x) == c);
        CHECK(vsinpi(static_cast<float>(x)) == static_cast<float>(s));
        CHECK(vcospi(static_cast<float>(x)) == static_cast<float>(c));
    }
}

TEST_CASE("sines are odd and cosines even, to the bit") {
    std::mt19937_64 gen(5);
    std::uniform_real_distribution<double> wide(0.0, 100.0);
    for (int i = 0; i < samples / 10; ++i) {
        const double x = wide(gen);
        const float y = static_cast<float>(x);
        CHECK(vsinpi(-x) == -vsinpi(x));
        CHECK(vcospi(-x) == vcospi(x));
        CHECK(vsinpi(-y) == -vsinpi(y));
        CHECK(vcospi(-y) == vcospi(y));
    }
}

TEST_CASE("sines and cosines of huge, infinite and undefined arguments") {
    CHECK(vsinpi(1e20) == 0.0);
    CHECK(vcospi(-1e300) == 1.0);
    CHECK(vsinpi(1e20f) == 0.0f);
    CHECK(vcospi(1e20f) == 1.0f);
    for (const double x : {inf, -inf, undefined}) {
        CHECK(std::isnan(vsinpi(x)));
        CHECK(std::isnan(vcospi(x)));
        CHECK(std::isnan(vsinpi(static_cast<float>(x))));
        CHECK(std::isnan(vcospi(static_cast<float>(x))));
    }
}

TEST_CASE("vsin and vcos: absolute error grows with |x|") {
    std::mt19937_64 gen(6);
    std::uniform_real_distribution<double> wide(-1000.0, 1000.0);
    for (int i = 0; i < samples; ++i) {
        const double x = wide(gen);
        const double bound = 3e-16 + 2.3e-16 * std::fabs(x);
        CHECK(std::fabs(vsin(x) - std::sin(x)) < bound);
        CHECK(std::fabs(vcos(x) - std::cos(x)) < bound);
        const float y = static_cast<float>(x);
        const double bound_f = 2e-7 + 1.2e-7 * std::fabs(x);
        CHECK(std::fabs(static_cast<double>(vsin(y)) - std::sin(static_cast<double>(y))) < bound_f);
        CHECK(std::fabs(static_cast<double>(vcos(y)) - std::cos(static_cast<double>(y))) < bound_f);
    }
}

TEST_CASE("a loop that the compiler vectorises has the bits of single calls") {
    std::mt19937_64 gen(7);
    std::uniform_real_distribution<double> positive(1e-3, 80.0);
    std::vector<double> x(1003), l(x.size()), e(x.size()), s(x.size());
    for (double& v : x) v = positive(gen);
    for (std::size_t i = 0; i < x.size(); ++i) l[i] = vlog(x[i]);
    for (std::size_t i = 0; i < x.size(); ++i) e[i] = vexp(-x[i]);
    for (std::size_t i = 0; i < x.size(); ++i) s[i] = vsinpi(x[i]);
    for (std::size_t i = 0; i < x.size(); ++i) {
        volatile double one = x[i];
        CHECK(l[i] == vlog(static_cast<double>(one)));
        CHECK(e[i] == vexp(-static_cast<double>(one)));
        CHECK(s[i] == vsinpi(static_cast<double>(one)));
    }
}
