// The native objectives against their published formulas in long double, and their contract on
// bits: a row's value depends on the row alone.
#include "cbo/objectives.hpp"
#include "core/vmath.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

namespace fastopt {
namespace {
#include "cbo/objective_functors.inl"

#include "cbo/objectives.inl"

using Long = long double;
const Long pi = 3.14159265358979323846264338327950288L;

Long square(Long x) { return x * x; }

// The published formulas. `scale` sums the sizes of what is added, for the tolerance.
Long reference(ObjectiveId id, const std::vector<Long>& x, Long& scale) {
    const std::size_t d = x.size();
    const Long n = static_cast<Long>(d);
    Long sum = 0, other = 0, product = 1;
    scale = 0;
    for (std::size_t i = 0; i < d; ++i) {
        const Long v = x[i], k = static_cast<Long>(i + 1);
        Long term = 0;
        switch (id) {
        case ObjectiveId::sphere:
            term = v * v;
            break;
        case ObjectiveId::ellipsoid:
            term = std::pow(10.0L, d > 1 ? 6 * (k - 1) / (n - 1) : 0) * v * v;
            break;
        case ObjectiveId::rastrigin:
            term = v * v + 10 * (1 - std::cos(2 * pi * v));
            break;
        case ObjectiveId::rastrigin_mild:
            term = v * v + 2.5L * (1 - std::cos(2 * pi * v));
            break;
        case ObjectiveId::ackley:
            term = v * v, other += std::cos(2 * pi * v);
            break;
        case ObjectiveId::rosenbrock:
            if (i + 1 < d) term = 100 * square(x[i + 1] - v * v) + square(1 - v);
            break;
        case ObjectiveId::griewank:
            term = v * v, product *= std::cos(v / std::sqrt(k));
            break;
        case ObjectiveId::schwefel:
            term = 418.98288727243370627865L - v * std::sin(std::sqrt(std::fabs(v)));
            break;
        case ObjectiveId::levy: {
            const Long w = 1 + (v - 1) / 4;
            if (i == 0) term += square(std::sin(pi * w));
            if (i + 1 < d)
                term += square(w - 1) * (1 + 10 * square(std::sin(pi * w + 1)));
            else
                term += square(w - 1) * (1 + square(std::sin(2 * pi * w)));
            break;
        }
        case ObjectiveId::michalewicz:
            term = -std::sin(v) * std::pow(std::fabs(std::sin(k * v * v / pi)), 20.0L);
            break;
        case ObjectiveId::styblinski_tang:
            term = (square(v * v) - 16 * v * v + 5 * v) / 2;
            break;
        case ObjectiveId::zakharov:
            term = v * v, other += k * v / 2;
            break;
        case ObjectiveId::canyon:
            break;
        }
        sum += term, scale += std::fabs(term);
    }
    switch (id) {
    case ObjectiveId::ackley:
        scale = 40;
        return 20 - 20 * std::exp(-0.2L * std::sqrt(sum / n)) + std::exp(1.0L) -
               std::exp(other / n);
    case ObjectiveId::griewank:
        scale = scale / 4000 + 2;
        return sum / 4000 - product + 1;
    case ObjectiveId::zakharov:
        return scale = sum + square(other) + square(square(other));
    case ObjectiveId::canyon: {
        const Long u = x[0], y = x[1], b = -u - 1.6L * y;
        const Long v = y - (u - 1) * square(u - 4) / 8 - 2;
        const Long sign = b > 0 ? 1 : b < 0 ? -1 : 0;
        scale = 60 + u * u + y * y;
        return 25 * (1 - std::exp(-1.4L * v * v * std::exp(-0.002L * square(u * u)))) +
               0.4L * u * u + 0.2L * y * y +
               1.1625L * (2 - std::cos(0.75L * pi * u) - std::cos(0.75L * pi * y)) +
               4 * std::exp(1 - 2 * square(v * v)) *
                   std::fmax((1 - std::exp(-9 * b * b)) * sign, 0.0L);
    }
    default:
        return sum;
    }
}

struct Box {
    double lower, upper, x_min, f_min; // f_min per coordinate
};

Box box(ObjectiveId id) {
    switch (id) {
    case ObjectiveId::ackley:
        return {-32.768, 32.768, 0, 0};
    case ObjectiveId::rosenbrock:
        return {-5, 10, 1, 0};
    case ObjectiveId::griewank:
        return {-600, 600, 0, 0};
    case ObjectiveId::schwefel:
        return {-500, 500, 420.96874635998202731, 0};
    case ObjectiveId::levy:
        return {-10, 10, 1, 0};
    case ObjectiveId::michalewicz:
        return {0, 3.14159265358979, 2.2029055201726093, -0.80130341009855253};
    case ObjectiveId::styblinski_tang:
        return {-5, 5, -2.9035340277711770951, -39.166165703771415464};
    case ObjectiveId::canyon:
        return {-10, 10, 0, 0};
    default:
        return {-5.12, 5.12, 0, 0};
    }
}

template <class T> std::vector<T> points(ObjectiveId id, index_t rows, index_t d) {
    const Box b = box(id);
    std::mt19937_64 generator(static_cast<std::uint64_t>(1000 * d + rows));
    std::uniform_real_distribution<double> coordinate(b.lower, b.upper);
    std::vector<T> x(static_cast<std::size_t>(rows * d));
    for (T& v : x) v = static_cast<T>(coordinate(generator));
    return x;
}

template <class T>
std::vector<double> values(ObjectiveId id, const std::vector<T>& x, index_t d,
                           const T* shift = nullptr, const T* rotation = nullptr) {
    const index_t rows = static_cast<index_t>(x.size()) / d;
    const index_t size = objective_scratch(d, shift != nullptr, rotation != nullptr);
    std::vector<T> scratch(static_cast<std::size_t>(size));
    std::vector<double> f(static_cast<std::size_t>(rows), -1e300);
    evaluate_rows(id, x.data(), rows, d, shift, rotation, scratch.data(), f.data());
    return f;
}

bool fits(const ObjectiveInfo& info, index_t d) {
    return d >= info.min_dim && (info.max_dim == 0 || d <= info.max_dim);
}

const index_t dims[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 20, 31, 33, 1023, 1024, 1025, 2500};

template <class T> void compare_with_reference(Long tolerance) {
    for (const ObjectiveInfo& info : objective_table)
        for (index_t d : dims) {
            if (!fits(info, d)) continue;
            const index_t rows = d < 100 ? 37 : 3;
            const std::vector<T> x = points<T>(info.id, rows, d);
            const std::vector<double> f = values(info.id, x, d);
            // The phases k x^2 / pi are known to their rounding errors only.
            const Long phase = info.id == ObjectiveId::michalewicz ? static_cast<Long>(d) : 1e-3L;
            for (index_t i = 0; i < rows; ++i) {
                const std::vector<Long> row(x.begin() + i * d, x.begin() + (i + 1) * d);
                Long scale = 0;
                const Long want = reference(info.id, row, scale);
                CAPTURE(info.name);
                CAPTURE(d);
                CAPTURE(i);
                CHECK(std::fabs(f[static_cast<std::size_t>(i)] - want) <=
                      tolerance * (scale + phase));
            }
        }
}

TEST_CASE("objectives: published formulas, double") { compare_with_reference<double>(1e-13L); }
TEST_CASE("objectives: published formulas, float") { compare_with_reference<float>(1e-5L); }

TEST_CASE("objectives: known minima") {
    for (const ObjectiveInfo& info : objective_table)
        for (index_t d : dims) {
            if (!fits(info, d) || (info.id == ObjectiveId::michalewicz && d > 1)) continue;
            const Box b = box(info.id);
            const std::vector<double> x(static_cast<std::size_t>(d), b.x_min);
            const double n = static_cast<double>(d), want = b.f_min * n;
            CAPTURE(info.name);
            CAPTURE(d);
            const double got = values(info.id, x, d)[0];
            CHECK(std::fabs(got - want) <= 1e-14 * (std::fabs(want) + n * b.upper));
            std::vector<double> near = x;
            for (double& v : near) v += 1e-3;
            CHECK(values(info.id, near, d)[0] > got);
        }
}

template <class T> void check_rows_alone() {
    for (const ObjectiveInfo& info : objective_table)
        for (index_t d : {1, 2, 3, 8, 17, 33, 1024, 1500}) {
            if (!fits(info, d)) continue;
            const index_t rows = d < 1000 ? 1100 / d + 70 : 3;
            const std::vector<T> x = points<T>(info.id, rows, d);
            std::vector<T> shift(static_cast<std::size_t>(d), T(0.375));
            std::vector<T> rotation;
            if (d < 100) rotation = points<T>(ObjectiveId::sphere, d, d);
            for (int mode = 0; mode < (rotation.empty() ? 2 : 4); ++mode) {
                const T* s = mode & 1 ? shift.data() : nullptr;
                const T* r = mode & 2 ? rotation.data() : nullptr;
                const std::vector<double> f = values(info.id, x, d, s, r);
                for (index_t i = 0; i < rows; i += 7) {
                    const std::vector<T> row(x.begin() + i * d, x.begin() + (i + 1) * d);
                    const double alone = values(info.id, row, d, s, r)[0];
                    const double together = f[static_cast<std::size_t>(i)];
                    CAPTURE(info.name);
                    CAPTURE(d);
                    CAPTURE(mode);
                    // the same bits, NaN (infinity minus infinity far outside the box) included
                    CHECK(bits_as<std::uint64_t>(alone) == bits_as<std::uint64_t>(together));
                }
            }
        }
}

TEST_CASE("objectives: a row's bits do not depend on its neighbours, double") {
    check_rows_alone<double>();
}
TEST_CASE("objectives: a row's bits do not depend on its neighbours, float") {
    check_rows_alone<float>();
}

TEST_CASE("objectives: R (x - shift)") {
    for (const ObjectiveInfo& info : objective_table)
        for (index_t d : {2, 3, 9, 20, 130}) {
            if (!fits(info, d)) continue;
            const index_t rows = 41;
            const std::vector<double> x = points<double>(info.id, rows, d);
            const std::vector<double> shift = points<double>(ObjectiveId::sphere, 1, d);
            // A permutation with signs is an exact rotation: row k takes coordinate k + 1.
            std::vector<double> rotation(static_cast<std::size_t>(d * d), 0.0);
            std::vector<double> z(x.size());
            for (index_t k = 0; k < d; ++k) {
                const index_t from = (k + 1) % d;
                const double sign = k % 2 ? -1 : 1;
                rotation[static_cast<std::size_t>(k * d + from)] = sign;
                for (index_t i = 0; i < rows; ++i)
                    z[static_cast<std::size_t>(i * d + k)] =
                        sign * (x[static_cast<std::size_t>(i * d + from)] -
                                shift[static_cast<std::size_t>(from)]);
            }
            CAPTURE(info.name);
            CAPTURE(d);
            CHECK(values(info.id, x, d, shift.data(), rotation.data()) == values(info.id, z, d));
        }
}

TEST_CASE("objectives: never finite where x is not") {
    for (const ObjectiveInfo& info : objective_table) {
        const index_t d = 2;
        for (double bad :
             {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
            CAPTURE(info.name);
            CHECK_FALSE(std::isfinite(values(info.id, std::vector<double>{bad, 0.25}, d)[0]));
            CHECK_FALSE(std::isfinite(values(info.id, std::vector<double>{0.25, bad}, d)[0]));
        }
    }
}

TEST_CASE("objectives: sin(pi x)^2 and 1 - exp(-u)") {
    for (int i = -4000; i <= 4000; ++i) {
        const double x = 0.001953125 * i + 1e-5 * i;
        const Long r = x - std::round(x); // exact
        const Long want = square(std::sin(pi * r));
        CHECK(std::fabs(objectives::sinpi_squared(x) - want) <= 1e-15L * want);
        const float y = static_cast<float>(x);
        const Long q = y - std::round(y);
        const Long wanted = square(std::sin(pi * q));
        CHECK(std::fabs(objectives::sinpi_squared(y) - wanted) <= 6e-7L * wanted);
    }
    for (double u = 1e-12; u < 800; u *= 1.01) {
        const Long want = -std::expm1(-static_cast<Long>(u));
        CHECK(std::fabs(objectives::one_minus_exp(u) - want) <= 4e-16L * want);
    }
    CHECK(objectives::one_minus_exp(0.0) == 0.0);
}

TEST_CASE("objectives: names and dimensions") {
    for (const ObjectiveInfo& info : objective_table) {
        CHECK(objective_id(info.name, info.min_dim) == info.id);
        CHECK_THROWS_AS(objective_id(info.name, info.min_dim - 1), std::invalid_argument);
        if (info.max_dim > 0)
            CHECK_THROWS_AS(objective_id(info.name, info.max_dim + 1), std::invalid_argument);
    }
    CHECK_THROWS_AS(objective_id("no_such_function", 3), std::invalid_argument);
}

} // namespace
} // namespace fastopt
