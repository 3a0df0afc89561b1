// The kernels of consensus-based optimisation against the formulas, written naively in double.
#include "cbo/cbo_kernels.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "core/random.hpp"
#include "hash.hpp"
#include "kernels.hpp"

using namespace fastopt;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr Draw draw{{11, 22}, 33, 44};

template <class T> constexpr double tolerance = sizeof(T) == 8 ? 1e-13 : 3e-5;

// Particles, centres, personal bests, gradients, bounds: everything that a move may need.
template <class T> struct Swarm {
    index_t n, d;
    std::vector<T> x, center, centers, best, gradient, lower, upper;
    std::vector<index_t> rows; // a batch

    Swarm(index_t n_, index_t d_) : n(n_), d(d_) {
        std::mt19937_64 gen(static_cast<std::uint64_t>(n * 1000 + d));
        std::uniform_real_distribution<double> u(-1.0, 1.0);
        const auto fill = [&](std::vector<T>& v, index_t size) {
            v.resize(static_cast<std::size_t>(size));
            for (T& t : v) t = static_cast<T>(u(gen));
        };
        fill(x, n * d), fill(center, d), fill(centers, n * d), fill(best, n * d);
        fill(gradient, n * d);
        for (index_t k = 0; k < d; ++k) {
            lower.push_back(T(-1.5));
            upper.push_back(k % 3 == 2 ? std::numeric_limits<T>::infinity() : T(1.25));
        }
        rows.resize(static_cast<std::size_t>(n));
        std::iota(rows.begin(), rows.end(), index_t{0});
        std::shuffle(rows.begin(), rows.end(), gen);
        rows.resize(static_cast<std::size_t>(n / 2 + 1));
    }

    Move<T> move() {
        Move<T> m;
        m.d = d;
        m.x = x.data();
        m.center = center.data();
        m.drift = T(0.3), m.diffusion = T(0.8), m.truncation = std::numeric_limits<T>::infinity();
        m.lower = lower.data(), m.upper = upper.data();
        m.draw = draw;
        return m;
    }
};

template <class T> double at(const std::vector<T>& v, index_t i) {
    return static_cast<double>(v[static_cast<std::size_t>(i)]);
}

// Mirrors at the walls as often as needed, then the wall: what reflection means.
double mirrored(double x, double lo, double hi) {
    if (x < lo) x = 2 * lo - x;
    if (x > hi) x = 2 * hi - x;
    if (x < lo) x = 2 * lo - x;
    return std::min(std::max(x, lo), hi);
}
double walled(double x, double lo, double hi, bool clip) {
    return clip ? std::min(std::max(x, lo), hi) : mirrored(x, lo, hi);
}

// The rule of cbo_kernels.hpp, one particle and one coordinate after another.
template <class T> std::vector<double> moved(const Swarm<T>& s, const Move<T>& m) {
    const index_t n = s.n, d = s.d;
    std::vector<float> xi(static_cast<std::size_t>(n * d)), zeta(xi.size());
    Draw second = m.draw;
    second.stream += 1;
    fill_normal(xi.data(), 0, n * d, m.draw);
    fill_normal(zeta.data(), 0, n * d, second);
    std::vector<double> out(s.x.begin(), s.x.end());
    std::vector<index_t> rows = s.rows;
    if (!m.rows) {
        rows.resize(static_cast<std::size_t>(n));
        std::iota(rows.begin(), rows.end(), index_t{0});
    }
    const double truncation = static_cast<double>(m.truncation);
    for (const index_t i : rows) {
        std::vector<double> D(static_cast<std::size_t>(d)), E(D.size());
        double norm_d = 0, norm_e = 0;
        for (index_t k = 0; k < d; ++k) {
            const std::size_t kk = static_cast<std::size_t>(k);
            const double c = static_cast<double>(m.center[i * m.center_stride + k]);
            D[kk] = at(s.x, i * d + k) - c;
            E[kk] = m.best ? at(s.x, i * d + k) - at(s.best, i * d + k) : 0.0;
            norm_d += D[kk] * D[kk], norm_e += E[kk] * E[kk];
        }
        norm_d = std::sqrt(norm_d), norm_e = std::sqrt(norm_e);
        for (index_t k = 0; k < d; ++k) {
            const std::size_t kk = static_cast<std::size_t>(k);
            const double SD = std::min(m.isotropic ? norm_d : std::fabs(D[kk]), truncation);
            const double SE = std::min(m.isotropic ? norm_e : std::fabs(E[kk]), truncation);
            double x = at(s.x, i * d + k) - static_cast<double>(m.drift) * D[kk] +
                       static_cast<double>(m.diffusion) * SD * at(xi, i * d + k);
            if (m.best)
                x += static_cast<double>(m.memory_diffusion) * SE * at(zeta, i * d + k) -
                     static_cast<double>(m.memory_drift) * E[kk];
            if (m.gradient) x -= static_cast<double>(m.gradient_weight) * at(s.gradient, i * d + k);
            out[static_cast<std::size_t>(i * d + k)] =
                walled(x, at(s.lower, k), at(s.upper, k), m.clip);
        }
    }
    return out;
}

template <class T> double worst(const std::vector<T>& got, const std::vector<double>& want) {
    REQUIRE(got.size() == want.size());
    double error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double e = std::fabs(static_cast<double>(got[i]) - want[i]);
        error = e <= error ? error : e; // keeps a NaN
    }
    return error;
}

// Runs the kernel and the reference on the same move, whole and cut in blocks.
template <class T> void compare(index_t n, index_t d, void (*change)(Swarm<T>&, Move<T>&)) {
    Swarm<T> s(n, d);
    Move<T> m = s.move();
    change(s, m);
    const std::vector<double> want = moved(s, m);
    const std::vector<T> before = s.x;
    const index_t count = m.rows ? static_cast<index_t>(s.rows.size()) : n;
    cbo_kernels<T>().move(m, 0, count);
    const std::vector<T> whole = s.x;
    CAPTURE(n);
    CAPTURE(d);
    CHECK(worst(whole, want) <= tolerance<T> * std::sqrt(static_cast<double>(m.isotropic ? d : 1)));
    bool unchanged_elsewhere = true, inside = true;
    for (index_t i = 0; i < n; ++i) {
        const bool moves = !m.rows || std::count(s.rows.begin(), s.rows.end(), i);
        for (index_t k = 0; k < d; ++k) {
            const std::size_t e = static_cast<std::size_t>(i * d + k);
            if (!moves) unchanged_elsewhere &= whole[e] == before[e];
            inside &= whole[e] >= s.lower[static_cast<std::size_t>(k)] &&
                      whole[e] <= s.upper[static_cast<std::size_t>(k)];
        }
    }
    CHECK(unchanged_elsewhere);
    CHECK(inside);
    // In pieces, as the threads take them: the same bits.
    s.x = before;
    for (index_t r = 0; r < count; r += 3) cbo_kernels<T>().move(m, r, std::min(r + 3, count));
    CHECK(s.x == whole);
}

template <class T> void compare_shapes(void (*change)(Swarm<T>&, Move<T>&)) {
    for (const auto& shape : {std::pair<index_t, index_t>{1, 1},
                              {7, 2},
                              {40, 5},
                              {33, 64},
                              {9, 100},
                              {6, 2047},
                              {5, 2048},
                              {4, 2049},
                              {3, 5000}})
        compare<T>(shape.first, shape.second, change);
}

} // namespace

TEST_CASE_TEMPLATE("move: drift and anisotropic noise", T, double, float) {
    compare_shapes<T>([](Swarm<T>&, Move<T>&) {});
}
TEST_CASE_TEMPLATE("move: isotropic noise, also where a row exceeds a tile", T, double, float) {
    compare_shapes<T>([](Swarm<T>&, Move<T>& m) { m.isotropic = true, m.diffusion = T(0.05); });
}
TEST_CASE_TEMPLATE("move: truncation bounds the noise", T, double, float) {
    compare_shapes<T>([](Swarm<T>&, Move<T>& m) { m.truncation = T(0.2); });
    compare_shapes<T>([](Swarm<T>&, Move<T>& m) { m.truncation = T(0.2), m.isotropic = true; });
}
TEST_CASE_TEMPLATE("move: memory", T, double, float) {
    const auto remember = [](Swarm<T>& s, Move<T>& m) {
        m.best = s.best.data(), m.memory_drift = T(0.2), m.memory_diffusion = T(0.4);
    };
    compare_shapes<T>(remember);
    compare_shapes<T>([](Swarm<T>& s, Move<T>& m) {
        m.best = s.best.data(), m.memory_drift = T(0.2), m.memory_diffusion = T(0.02);
        m.isotropic = true, m.diffusion = T(0.05), m.truncation = T(1);
    });
}
TEST_CASE_TEMPLATE("move: gradient drift", T, double, float) {
    compare_shapes<T>([](Swarm<T>& s, Move<T>& m) {
        m.gradient = s.gradient.data(), m.gradient_weight = T(0.7);
    });
    compare_shapes<T>([](Swarm<T>& s, Move<T>& m) {
        m.gradient = s.gradient.data(), m.gradient_weight = T(0.7);
        m.best = s.best.data(), m.memory_drift = T(0.2), m.memory_diffusion = T(0.4), m.clip = true;
    });
}
TEST_CASE_TEMPLATE("move: clip", T, double, float) {
    compare_shapes<T>([](Swarm<T>&, Move<T>& m) { m.clip = true, m.diffusion = T(3); });
}
TEST_CASE_TEMPLATE("move: reflection", T, double, float) {
    compare_shapes<T>([](Swarm<T>&, Move<T>& m) { m.diffusion = T(3); });
}
TEST_CASE_TEMPLATE("move: a batch moves alone", T, double, float) {
    compare_shapes<T>([](Swarm<T>& s, Move<T>& m) { m.rows = s.rows.data(); });
    compare_shapes<T>([](Swarm<T>& s, Move<T>& m) {
        m.rows = s.rows.data(), m.isotropic = true, m.diffusion = T(0.05);
        m.best = s.best.data(), m.memory_drift = T(0.1);
    });
}
TEST_CASE_TEMPLATE("move: a centre for each particle", T, double, float) {
    compare_shapes<T>(
        [](Swarm<T>& s, Move<T>& m) { m.center = s.centers.data(), m.center_stride = s.d; });
}

TEST_CASE_TEMPLATE("particles at the consensus stay", T, double, float) {
    Swarm<T> s(20, 7);
    for (index_t i = 0; i < 20; ++i)
        std::copy(s.center.begin(), s.center.end(), s.x.begin() + i * 7);
    const auto before = s.x;
    cbo_kernels<T>().move(s.move(), 0, 20);
    CHECK(s.x == before);
}

TEST_CASE_TEMPLATE("a fixed coordinate stays at its wall", T, double, float) {
    for (const bool clip : {false, true}) {
        Swarm<T> s(20, 3);
        s.lower[1] = s.upper[1] = T(0.5);
        Move<T> m = s.move();
        m.clip = clip;
        cbo_kernels<T>().move(m, 0, 20);
        for (index_t i = 0; i < 20; ++i) CHECK(s.x[static_cast<std::size_t>(i * 3 + 1)] == T(0.5));
    }
}

TEST_CASE_TEMPLATE("move_along: given noise", T, double, float) {
    for (const bool clip : {false, true})
        for (const bool batch : {false, true}) {
            Swarm<T> s(21, 13);
            Move<T> m = s.move();
            m.clip = clip, m.diffusion = T(2), m.rows = batch ? s.rows.data() : nullptr;
            const index_t from = 2, to = 9;
            const std::vector<T> before = s.x,
                                 eta(s.best.begin(), s.best.begin() + (to - from) * 13);
            std::vector<double> want(s.x.begin(), s.x.end());
            for (index_t r = from; r < to; ++r) {
                const index_t i = batch ? s.rows[static_cast<std::size_t>(r)] : r;
                for (index_t k = 0; k < 13; ++k) {
                    const double x = at(before, i * 13 + k);
                    want[static_cast<std::size_t>(i * 13 + k)] =
                        walled(x - static_cast<double>(m.drift) * (x - at(s.center, k)) +
                                   2 * at(eta, (r - from) * 13 + k),
                               at(s.lower, k), at(s.upper, k), clip);
                }
            }
            cbo_kernels<T>().move_along(m, eta.data(), from, to);
            CHECK(worst(s.x, want) <= tolerance<T>);
        }
}

TEST_CASE_TEMPLATE("hop: fresh points around the consensus", T, double, float) {
    for (const index_t d : {3, 64, 2050}) {
        Swarm<T> s(11, d);
        Move<T> m = s.move();
        std::vector<T> step(static_cast<std::size_t>(d));
        for (index_t k = 0; k < d; ++k)
            step[static_cast<std::size_t>(k)] = T(0.1) * static_cast<T>(k % 7);
        std::vector<float> xi(static_cast<std::size_t>(11 * d));
        fill_normal(xi.data(), 0, 11 * d, m.draw);
        std::vector<double> want;
        for (index_t i = 0; i < 11; ++i)
            for (index_t k = 0; k < d; ++k)
                want.push_back(walled(at(s.center, k) + at(step, k) * at(xi, i * d + k),
                                      at(s.lower, k), at(s.upper, k), false));
        cbo_kernels<T>().hop(m, step.data(), 0, 5);
        cbo_kernels<T>().hop(m, step.data(), 5, 11);
        CHECK(worst(s.x, want) <= tolerance<T>);
    }
}

TEST_CASE("gibbs weights") {
    const auto& k = cbo_kernels<double>();
    std::mt19937_64 gen(1);
    std::uniform_real_distribution<double> u(-3.0, 5.0);
    for (const index_t n : {1, 7, 8, 9, 100, 1001}) {
        std::vector<double> e(static_cast<std::size_t>(n)), w(e.size());
        for (double& v : e) v = u(gen);
        if (n > 8) e[3] = e[8] = inf;
        const double least = *std::min_element(e.begin(), e.end());
        for (const double alpha : {0.0, 0.5, 30.0, 1e6, 1e300, inf}) {
            CAPTURE(alpha);
            CAPTURE(n);
            k.gibbs(e.data(), n, alpha, least, w.data());
            double sum = 0, square = 0;
            for (std::size_t i = 0; i < e.size(); ++i) {
                double want =
                    e[i] == least ? 1.0 : (e[i] < inf ? std::exp(-alpha * (e[i] - least)) : 0.0);
                if (want < 1e-300) want = 0; // the core's exponential ends there
                CHECK(std::fabs(w[i] - want) <= 1e-15 * want + 1e-300);
                sum += want, square += want * want;
            }
            double sums[2] = {-1, -1};
            k.gibbs_sums(e.data(), n, alpha, least, sums);
            CHECK(sums[0] == doctest::Approx(sum).epsilon(1e-13));
            CHECK(sums[1] == doctest::Approx(square).epsilon(1e-13));
        }
    }
}

TEST_CASE_TEMPLATE("weighted sums add to what is there", T, double, float) {
    for (const bool batch : {false, true}) {
        Swarm<T> s(50, 9);
        std::iota(s.rows.begin(), s.rows.end(), index_t{5});
        const index_t* rows = batch ? s.rows.data() : nullptr;
        std::vector<double> w(50), sums(10, 0.25), want = sums;
        for (std::size_t i = 0; i < 50; ++i) w[i] = i % 4 ? 0.1 * static_cast<double>(i) : 0.0;
        s.x[batch ? 5 * 9 : 0] = std::numeric_limits<T>::infinity(); // has weight 0: must not count
        for (index_t r = 0; r < 20; ++r) {
            if (at(w, r) == 0) continue;
            want[0] += at(w, r);
            for (index_t k = 0; k < 9; ++k)
                want[static_cast<std::size_t>(k + 1)] +=
                    at(w, r) * at(s.x, (rows ? rows[r] : r) * 9 + k);
        }
        cbo_kernels<T>().weighted_sum(w.data(), s.x.data(), rows, 9, 0, 8, sums.data());
        cbo_kernels<T>().weighted_sum(w.data(), s.x.data(), rows, 9, 8, 20, sums.data());
        for (std::size_t k = 0; k < 10; ++k)
            CHECK(sums[k] == doctest::Approx(want[k]).epsilon(1e-13));
    }
}

TEST_CASE_TEMPLATE("weighted deviations have the weighted covariance as Gram matrix", T, double,
                   float) {
    Swarm<T> s(12, 4);
    std::vector<double> w(12);
    for (std::size_t i = 0; i < 12; ++i) w[i] = 0.1 + 0.05 * static_cast<double>(i);
    std::vector<T> out(7 * 4);
    cbo_kernels<T>().weighted_deviation(w.data(), s.x.data(), s.center.data(), 4, 3, 10,
                                        out.data());
    for (index_t a = 0; a < 4; ++a)
        for (index_t b = 0; b < 4; ++b) {
            double got = 0, want = 0;
            for (index_t r = 3; r < 10; ++r) {
                got += at(out, (r - 3) * 4 + a) * at(out, (r - 3) * 4 + b);
                want += w[static_cast<std::size_t>(r)] * (at(s.x, r * 4 + a) - at(s.center, a)) *
                        (at(s.x, r * 4 + b) - at(s.center, b));
            }
            CHECK(std::fabs(got - want) <= 10 * tolerance<T>);
        }
}

TEST_CASE_TEMPLATE("polarize: a consensus for each particle", T, double, float) {
    const index_t n = 30, d = 11;
    for (const double alpha : {0.0, 2.0, 500.0}) {
        Swarm<T> s(n, d);
        std::vector<double> e(static_cast<std::size_t>(n)), scratch(e.size());
        for (std::size_t i = 0; i < e.size(); ++i) e[i] = std::sin(static_cast<double>(i) * 1.7);
        e[4] = inf;
        const double least = *std::min_element(e.begin(), e.end());
        std::vector<T> inverse(static_cast<std::size_t>(d));
        for (index_t k = 0; k < d; ++k)
            inverse[static_cast<std::size_t>(k)] = T(0.5) + T(0.1) * static_cast<T>(k);
        std::vector<T> centers(static_cast<std::size_t>(n * d), T(77));
        cbo_kernels<T>().polarize(s.x.data(), e.data(), n, d, alpha, least, inverse.data(), 0, n,
                                  scratch.data(), centers.data());
        std::vector<double> want(static_cast<std::size_t>(n * d));
        for (index_t i = 0; i < n; ++i) {
            std::vector<double> exponent(static_cast<std::size_t>(n));
            for (index_t j = 0; j < n; ++j) {
                double r2 = 0;
                for (index_t k = 0; k < d; ++k) {
                    const double t = (at(s.x, i * d + k) - at(s.x, j * d + k)) * at(inverse, k);
                    r2 += t * t;
                }
                const bool reached = r2 <= 9; // the kernel ends at three widths
                exponent[static_cast<std::size_t>(j)] =
                    reached && at(e, j) < inf ? -alpha * at(e, j) - r2 / 2 : -inf;
            }
            const double top = *std::max_element(exponent.begin(), exponent.end());
            double total = 0;
            for (const double t : exponent) total += std::exp(t - top);
            for (index_t j = 0; j < n; ++j)
                for (index_t k = 0; k < d; ++k)
                    want[static_cast<std::size_t>(i * d + k)] +=
                        std::exp(at(exponent, j) - top) / total * at(s.x, j * d + k);
        }
        CAPTURE(alpha);
        CHECK(worst(centers, want) <= (sizeof(T) == 8 ? 1e-12 : 1e-4));
    }
}

TEST_CASE_TEMPLATE("polarize without a finite value: every particle is its own centre", T, double,
                   float) {
    const index_t n = 5, d = 3;
    Swarm<T> s(n, d);
    const std::vector<double> e(static_cast<std::size_t>(n), inf);
    std::vector<double> scratch(e.size());
    const std::vector<T> inverse(static_cast<std::size_t>(d), T(1));
    std::vector<T> centers(s.x.size());
    cbo_kernels<T>().polarize(s.x.data(), e.data(), n, d, 1.0, inf, inverse.data(), 0, n,
                              scratch.data(), centers.data());
    CHECK(centers == s.x);
}

TEST_CASE_TEMPLATE("responsibilities are a softmax of distances", T, double, float) {
    const index_t n = 14, d = 6, m = 3;
    Swarm<T> s(n, d);
    const std::vector<T> inverse(static_cast<std::size_t>(d), T(1.5));
    std::vector<double> p(static_cast<std::size_t>(n * m), -1.0);
    cbo_kernels<T>().responsibility(s.x.data(), s.centers.data(), m, d, inverse.data(), 0, n,
                                    p.data());
    for (index_t i = 0; i < n; ++i) {
        double total = 0, sum = 0, weight[3];
        for (index_t q = 0; q < m; ++q) {
            double r2 = 0;
            for (index_t k = 0; k < d; ++k) {
                const double t = 1.5 * (at(s.x, i * d + k) - at(s.centers, q * d + k));
                r2 += t * t;
            }
            total += weight[q] = std::exp(-r2 / 2);
        }
        for (index_t q = 0; q < m; ++q) {
            CHECK(at(p, i * m + q) == doctest::Approx(weight[q] / total).epsilon(1e-12));
            sum += at(p, i * m + q);
        }
        CHECK(sum == doctest::Approx(1.0));
    }
}

// Every kernel that takes part in a run without BLAS, at every instruction set and for good.
template <class T> std::uint64_t moves_hash() {
    Swarm<T> s(50, 70);
    Move<T> m = s.move();
    m.best = s.best.data(), m.memory_drift = T(0.2), m.memory_diffusion = T(0.4);
    cbo_kernels<T>().move(m, 0, 50);
    m.isotropic = true, m.best = nullptr, m.diffusion = T(0.1), m.truncation = T(2);
    cbo_kernels<T>().move(m, 0, 50);
    std::vector<double> w(50), e(50), sums(71, 0.0), scratch(50);
    for (std::size_t i = 0; i < 50; ++i) e[i] = static_cast<double>(s.x[i]);
    cbo_kernels<T>().gibbs(e.data(), 50, 3.0, *std::min_element(e.begin(), e.end()), w.data());
    cbo_kernels<T>().weighted_sum(w.data(), s.x.data(), nullptr, 70, 0, 50, sums.data());
    std::vector<T> inverse(70, T(0.3)), centers(50 * 70);
    cbo_kernels<T>().polarize(s.x.data(), e.data(), 50, 70, 2.0, -2.0, inverse.data(), 0, 50,
                              scratch.data(), centers.data());
    return hash_of(s.x) ^ (hash_of(sums) << 1) ^ (hash_of(centers) << 2);
}

TEST_CASE("golden hashes") {
    CHECK(moves_hash<double>() == 0x1570bb403e219be8u);
    CHECK(moves_hash<float>() == 0xaec2c7333cbf4bbcu);
}
