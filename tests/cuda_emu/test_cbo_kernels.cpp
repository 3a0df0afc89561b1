// Every device kernel of cbo against the CPU's kernels, or a plain loop, on the emulated device:
// the same bits, for ten orders of the threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "backend/cuda.hpp"
#include "backend/queue.hpp"
#include "cbo/cbo_steps.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "kernels.hpp"

#include "cuda_emu.hpp"

using namespace fastopt;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class T>
std::vector<T> random_numbers(index_t n, unsigned seed, double lo = -4, double hi = 4) {
    std::mt19937_64 engine(seed);
    std::uniform_real_distribution<double> uniform(lo, hi);
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) x = static_cast<T>(uniform(engine));
    return v;
}

std::vector<index_t> some_rows(index_t n, index_t count, unsigned seed) {
    std::vector<index_t> rows(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) rows[static_cast<std::size_t>(i)] = i;
    std::shuffle(rows.begin(), rows.end(), std::mt19937_64(seed));
    rows.resize(static_cast<std::size_t>(count));
    return rows;
}

template <class T> Array<T> on_device(const std::shared_ptr<Queue>& q, const std::vector<T>& v) {
    const Array<T> a(q, static_cast<index_t>(v.size()));
    std::copy(v.begin(), v.end(), a.mirror());
    a.send();
    return a;
}

template <class T> std::vector<T> on_host(const Array<T>& a) {
    const T* p = a.fetch();
    return {p, p + a.size()};
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class F> void for_seeds(F f) {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        f();
    }
    CHECK(cuda_emu_live() == 0);
}

struct Shape {
    index_t n, d;
};

} // namespace

TEST_CASE_TEMPLATE("move and hop", T, double, float) {
    const Shape shapes[] = {{1, 1}, {5, 3}, {70, 7}, {9, 130}, {33, 64}};
    for_seeds([&] {
        const auto q = make_queue();
        for (const Shape s : shapes)
            for (int choice = 0; choice < 32; ++choice) {
                const bool isotropic = choice & 1, memory = choice & 2, gradient = choice & 4;
                const bool batch = choice & 8, own_center = choice & 16, clip = (choice * 7) & 8;
                const auto x = random_numbers<T>(s.n * s.d, 1), y = random_numbers<T>(s.n * s.d, 2);
                const auto g = random_numbers<T>(s.n * s.d, 3);
                const auto c = random_numbers<T>(own_center ? s.n * s.d : s.d, 4);
                const auto lo = random_numbers<T>(s.d, 5, -3, -1),
                           hi = random_numbers<T>(s.d, 6, 1, 3);
                const index_t count = batch ? (s.n + 1) / 2 : s.n;
                const auto rows = some_rows(s.n, count, 7);
                Move<T> m;
                m.d = s.d, m.center_stride = own_center ? s.d : 0;
                m.drift = T(0.1), m.diffusion = T(0.7), m.truncation = T(1.5);
                m.memory_drift = T(0.2), m.memory_diffusion = T(0.3), m.gradient_weight = T(0.05);
                m.isotropic = isotropic, m.clip = clip;
                m.draw = {{11, 12}, (std::uint64_t{1} << 40) + 5, 3};
                Move<T> cpu = m, gpu = m;
                std::vector<T> expected = x;
                cpu.x = expected.data(), cpu.center = c.data();
                cpu.lower = lo.data(), cpu.upper = hi.data();
                const auto dx = on_device(q, x), dy = on_device(q, y), dg = on_device(q, g);
                const auto dc = on_device(q, c), dlo = on_device(q, lo), dhi = on_device(q, hi);
                const auto drows = on_device(q, rows);
                gpu.x = dx.data(), gpu.center = dc.data();
                gpu.lower = dlo.data(), gpu.upper = dhi.data();
                if (memory) cpu.best = y.data(), gpu.best = dy.data();
                if (gradient) cpu.gradient = g.data(), gpu.gradient = dg.data();
                if (batch) cpu.rows = rows.data(), gpu.rows = drows.data();
                CboSteps<T> steps(q, s.n, s.d, 1);
                cbo_kernels<T>().move(cpu, 0, count);
                steps.move(gpu, count);
                INFO("choice ", choice, ", n ", s.n, ", d ", s.d);
                CHECK(same_bits(on_host(dx), expected));

                const auto dlo2 = on_device(q, lo);
                cbo_kernels<T>().hop(cpu, hi.data(), 0, count);
                steps.hop(gpu, dhi.data(), count);
                CHECK(same_bits(on_host(dx), expected));
            }
    });
}

TEST_CASE_TEMPLATE("correlated noise and the covariance", T, double, float) {
    for_seeds([&] {
        const auto q = make_queue();
        const index_t n = 70, d = 5;
        const auto x = random_numbers<T>(n * d, 1), c = random_numbers<T>(d, 2);
        const auto lo = random_numbers<T>(d, 5, -3, -1), hi = random_numbers<T>(d, 6, 1, 3);
        std::vector<T> unit(d * d, T(0));
        for (index_t k = 0; k < d; ++k) unit[static_cast<std::size_t>(k * d + k)] = T(1);
        const auto dx = on_device(q, x), dc = on_device(q, c), dlo = on_device(q, lo);
        const auto dhi = on_device(q, hi), dunit = on_device(q, unit);
        Move<T> m;
        m.d = d, m.drift = T(0.1), m.diffusion = T(0.4), m.draw = {{1, 2}, 3, 4};
        Move<T> cpu = m;
        m.x = dx.data(), m.center = dc.data(), m.lower = dlo.data(), m.upper = dhi.data();
        std::vector<T> expected = x, eta(x.size());
        fill_normal(eta.data(), 0, n * d, m.draw);
        cpu.x = expected.data(), cpu.center = c.data(), cpu.lower = lo.data(),
        cpu.upper = hi.data();
        cbo_kernels<T>().move_along(cpu, eta.data(), 0, n);
        CboSteps<T> steps(q, n, d, 1);
        steps.correlated_move(m, dunit.data(), n); // with the unit matrix BLAS only copies
        CHECK(same_bits(on_host(dx), expected));

        const auto w = random_numbers<double>(n, 8, 0, 1);
        const auto dw = on_device(q, w);
        const Array<T> factor(q, d * d);
        const auto points = on_device(q, x);
        steps.covariance(dw.data(), points.data(), dc.data(), n, factor.data());
        const T* l = factor.fetch();
        for (index_t i = 0; i < d; ++i)
            for (index_t j = 0; j <= i; ++j) {
                double sum = 0;
                for (index_t r = 0; r < n; ++r)
                    sum += w[static_cast<std::size_t>(r)] *
                           (static_cast<double>(x[static_cast<std::size_t>(r * d + i)]) -
                            static_cast<double>(c[static_cast<std::size_t>(i)])) *
                           (static_cast<double>(x[static_cast<std::size_t>(r * d + j)]) -
                            static_cast<double>(c[static_cast<std::size_t>(j)]));
                CHECK(static_cast<double>(l[i * d + j]) ==
                      doctest::Approx(sum).epsilon(sizeof(T) == 8 ? 1e-12 : 1e-4));
            }
    });
}

TEST_CASE_TEMPLATE("rows: gather, scatter, tidy, energies, remember", T, double, float) {
    for_seeds([&] {
        const auto q = make_queue();
        for (const Shape s : {Shape{1, 1}, Shape{45, 7}, Shape{600, 3}}) {
            CboSteps<T> steps(q, s.n, s.d, 1);
            const auto x = random_numbers<T>(s.n * s.d, 1), y = random_numbers<T>(s.n * s.d, 2);
            const auto lo = random_numbers<T>(s.d, 5, -3, -1), hi = random_numbers<T>(s.d, 6, 1, 3);
            const index_t count = (s.n + 1) / 2;
            const auto rows = some_rows(s.n, count, 7);
            std::vector<char> integer(static_cast<std::size_t>(s.d));
            for (std::size_t k = 0; k < integer.size(); k += 2) integer[k] = 1;
            const auto dx = on_device(q, x), dlo = on_device(q, lo), dhi = on_device(q, hi);
            const auto drows = on_device(q, rows);
            const auto dinteger = on_device(q, integer);
            for (const bool batch : {false, true}) {
                const Array<T> out(q, s.n * s.d);
                const index_t n = batch ? count : s.n;
                steps.gather(dx.data(), batch ? drows.data() : nullptr, n,
                             batch ? dinteger.data() : nullptr, dlo.data(), dhi.data(), out.data());
                const auto got = on_host(out);
                bool equal = true;
                for (index_t r = 0; r < n; ++r)
                    for (index_t k = 0; k < s.d; ++k) {
                        const auto i = batch ? rows[static_cast<std::size_t>(r)] : r;
                        const auto kk = static_cast<std::size_t>(k);
                        T value = x[static_cast<std::size_t>(i * s.d + k)];
                        if (batch && integer[kk])
                            value = std::min(std::max(std::nearbyint(value), std::ceil(lo[kk])),
                                             std::floor(hi[kk]));
                        equal = equal && got[static_cast<std::size_t>(r * s.d + k)] == value;
                    }
                CHECK(equal);
            }

            auto f = random_numbers<double>(s.n, 8), v = random_numbers<double>(s.n, 9, -1, 1);
            for (double& value : v) value = std::max(value, 0.0);
            if (s.n > 20) { // ties and what is not a number
                for (const std::size_t r : {2u, 3u, 17u, 18u}) f[r] = -100, v[r] = 0;
                f[5] = not_a_number, v[6] = not_a_number, f[7] = inf;
                f[8] = -1000, v[8] = not_a_number;
            }
            const auto df = on_device(q, f), dv = on_device(q, v);
            for (const bool constrained : {false, true}) {
                auto expected_f = f, expected_v = v;
                index_t row = 0;
                double best_f = inf, best_v = inf;
                for (std::size_t r = 0; r < f.size(); ++r) {
                    if (std::isnan(f[r])) expected_f[r] = inf;
                    if (constrained && std::isnan(v[r])) expected_v[r] = inf;
                    const double violation = constrained ? expected_v[r] : 0;
                    if (violation < best_v || (violation == best_v && expected_f[r] < best_f))
                        best_v = violation, best_f = expected_f[r], row = static_cast<index_t>(r);
                }
                const auto best = steps.tidy(df.data(), constrained ? dv.data() : nullptr, s.n);
                CHECK(best.row == row);
                CHECK(best.f == best_f);
                CHECK(best.violation == best_v);
                CHECK(same_bits(on_host(df), expected_f));
                if (constrained) CHECK(same_bits(on_host(dv), expected_v));
            }

            const Array<double> to(q, s.n), e(q, s.n);
            steps.scatter(df.data(), drows.data(), count, to.data());
            const auto scattered = on_host(to), tidied_f = on_host(df), tidied_v = on_host(dv);
            for (std::size_t r = 0; r < rows.size(); ++r)
                CHECK(scattered[static_cast<std::size_t>(rows[r])] == tidied_f[r]);

            const double penalty = 1.5;
            steps.energies(df.data(), dv.data(), drows.data(), count, penalty, e.data());
            const auto energies = on_host(e);
            const auto y_f = random_numbers<double>(s.n, 10),
                       y_v = random_numbers<double>(s.n, 11, 0, 1);
            for (std::size_t r = 0; r < rows.size(); ++r) {
                const auto i = static_cast<std::size_t>(rows[r]);
                CHECK(energies[r] ==
                      (tidied_v[i] > 0 ? tidied_f[i] + penalty * tidied_v[i] : tidied_f[i]));
            }
            for (const bool batch : {false, true}) {
                const auto dy = on_device(q, y);
                const auto dy_f = on_device(q, y_f), dy_v = on_device(q, y_v);
                auto expected = y;
                auto expected_f = y_f, expected_v = y_v;
                const index_t n = batch ? count : s.n;
                for (index_t r = 0; r < n; ++r) {
                    const auto i =
                        static_cast<std::size_t>(batch ? rows[static_cast<std::size_t>(r)] : r);
                    const double now =
                        tidied_f[i] + (tidied_v[i] > 0 ? penalty * tidied_v[i] : 0.0);
                    const double then = y_f[i] + (y_v[i] > 0 ? penalty * y_v[i] : 0.0);
                    if (!(now < then)) continue;
                    expected_f[i] = tidied_f[i], expected_v[i] = tidied_v[i];
                    for (std::size_t k = i * integer.size(); k < (i + 1) * integer.size(); ++k)
                        expected[k] = x[k];
                }
                steps.remember(dx.data(), df.data(), dv.data(), batch ? drows.data() : nullptr, n,
                               penalty, dy.data(), dy_f.data(), dy_v.data());
                CHECK(same_bits(on_host(dy), expected));
                CHECK(same_bits(on_host(dy_f), expected_f));
                CHECK(same_bits(on_host(dy_v), expected_v));
            }
        }
    });
}

TEST_CASE_TEMPLATE("energies, weights and the consensus", T, double, float) {
    for_seeds([&] {
        const auto q = make_queue();
        for (const Shape s : {Shape{1, 1}, Shape{45, 7}, Shape{700, 300}, Shape{2000, 9}}) {
            CboSteps<T> steps(q, s.n, s.d, 1);
            auto e = random_numbers<double>(s.n, 1, 0, 10);
            if (s.n > 20) e[5] = inf, e[6] = e[7];
            const auto de = on_device(q, e);
            const auto finite = random_numbers<double>(s.n, 1, -3, 10);
            const auto dfinite = on_device(q, finite);
            const auto spread = steps.spread(dfinite.data(), s.n);
            double above = 0, square = 0;
            const double least = *std::min_element(finite.begin(), finite.end());
            for (const double value : finite)
                above += value - least, square += (value - least) * (value - least);
            CHECK(spread.least == least);
            CHECK(spread.above == above);
            CHECK(spread.square == square);

            const double e_min = *std::min_element(e.begin(), e.end());
            const double alpha =
                steps.choose_alpha(de.data(), s.n, e_min, 1.0, 0.4 * static_cast<double>(s.n));
            const auto size = [&](double a) {
                double sums[2];
                cbo_kernels<T>().gibbs_sums(e.data(), s.n, a, e_min, sums);
                return sums[0] * sums[0] / sums[1];
            };
            if (s.n > 20) {
                CHECK(size(alpha) >= 0.4 * static_cast<double>(s.n));
                CHECK(size(1.002 * alpha) < 0.4 * static_cast<double>(s.n));
            }

            const Array<double> dw(q, s.n);
            std::vector<double> w(e.size());
            for (const double a : {alpha, 0.0, 30.0, inf}) {
                cbo_kernels<T>().gibbs(e.data(), s.n, a, e_min, w.data());
                steps.gibbs(de.data(), s.n, a, e_min, dw.data());
                CHECK(same_bits(on_host(dw), w));
            }
            cbo_kernels<T>().gibbs(e.data(), s.n, alpha, e_min, w.data());
            steps.gibbs(de.data(), s.n, alpha, e_min, dw.data());

            const auto x = random_numbers<T>(s.n * s.d, 2);
            const auto dx = on_device(q, x);
            const auto rows = some_rows(s.n, (s.n + 1) / 2, 7);
            const auto drows = on_device(q, rows);
            for (const bool batch : {false, true}) {
                const index_t n = batch ? static_cast<index_t>(rows.size()) : s.n;
                const index_t block = std::max<index_t>(64, 16384 / s.d);
                std::vector<double> total(static_cast<std::size_t>(s.d + 1)), c(total.size() - 1);
                for (index_t r = 0; r < n; r += block) {
                    std::vector<double> part(total.size());
                    cbo_kernels<T>().weighted_sum(w.data(), x.data(), batch ? rows.data() : nullptr,
                                                  s.d, r, std::min(r + block, n), part.data());
                    for (std::size_t k = 0; k < part.size(); ++k) total[k] += part[k];
                }
                for (std::size_t k = 0; k < c.size(); ++k) c[k] = total[1 + k] / total[0];
                std::vector<double> got(c.size());
                steps.weighted_mean(dx.data(), batch ? drows.data() : nullptr, n, dw.data(),
                                    Shares(nullptr), got.data());
                CHECK(same_bits(got, c));
            }
        }
        // Energies that are all infinite, or that reach -inf: the least one says so.
        CboSteps<T> steps(q, 3, 1, 1);
        CHECK(steps.spread(on_device(q, std::vector<double>{inf, inf, inf}).data(), 3).least ==
              inf);
        CHECK(steps.spread(on_device(q, std::vector<double>{1, -inf, 2}).data(), 3).least == -inf);
    });
}

TEST_CASE_TEMPLATE("polarised consensus", T, double, float) {
    for_seeds([&] {
        const auto q = make_queue();
        for (const Shape s : {Shape{3, 1}, Shape{150, 5}, Shape{300, 2}}) {
            CboSteps<T> steps(q, s.n, s.d, 1);
            auto e = random_numbers<double>(s.n, 1, 0, 10);
            e[1] = inf;
            const auto x = random_numbers<T>(s.n * s.d, 2),
                       width = random_numbers<T>(s.d, 3, 0.5, 2);
            const auto de = on_device(q, e);
            const auto dx = on_device(q, x), dwidth = on_device(q, width);
            const double e_min = *std::min_element(e.begin(), e.end());
            std::vector<T> centers(x.size());
            std::vector<double> scratch(e.size());
            const Array<T> out(q, s.n * s.d);
            for (const bool hopeless : {false, true}) {
                if (hopeless) {
                    std::fill(e.begin(), e.end(), inf);
                    std::copy(e.begin(), e.end(), de.mirror());
                    de.send();
                }
                cbo_kernels<T>().polarize(x.data(), e.data(), s.n, s.d, 2.0, e_min, width.data(), 0,
                                          s.n, scratch.data(), centers.data());
                steps.polarize(dx.data(), de.data(), s.n, 2.0, e_min, dwidth.data(), out.data());
                CHECK(same_bits(on_host(out), centers));
            }
            const index_t m = 3;
            std::vector<double> p(static_cast<std::size_t>(s.n * m));
            cbo_kernels<T>().responsibility(x.data(), x.data(), m, s.d, width.data(), 0, s.n,
                                            p.data());
            const Array<double> dp(q, s.n * m);
            steps.responsibility(dx.data(), dx.data(), s.n, m, dwidth.data(), dp.data());
            CHECK(same_bits(on_host(dp), p));
        }
    });
}

TEST_CASE_TEMPLATE("native objectives", T, double, float) {
    for_seeds([&] {
        const auto q = make_queue();
        for (const ObjectiveInfo& info : objective_table)
            for (const index_t d :
                 {index_t{1}, index_t{2}, index_t{7}, index_t{40}, index_t{1100}}) {
                if (d < info.min_dim || (info.max_dim && d > info.max_dim)) continue;
                const index_t n = d > 1000 ? 3 : 37;
                for (int moved = 0; moved < (d > 50 ? 2 : 4); ++moved) {
                    const auto x = random_numbers<T>(n * d, 1),
                               shift = random_numbers<T>(d, 2, -1, 1);
                    const auto rotation = random_numbers<T>(moved & 2 ? d * d : 0, 3, -1, 1);
                    std::vector<T> scratch(
                        static_cast<std::size_t>(objective_scratch(d, moved & 1, moved & 2)));
                    std::vector<double> expected(static_cast<std::size_t>(n));
                    cbo_kernels<T>().evaluate(
                        info.id, x.data(), n, d, moved & 1 ? shift.data() : nullptr,
                        moved & 2 ? rotation.data() : nullptr, scratch.data(), expected.data());
                    const auto dx = on_device(q, x), dshift = on_device(q, shift);
                    const auto drotation = on_device(q, rotation);
                    const Array<T> dscratch(q, n * d);
                    const Array<double> f(q, n);
                    evaluate_resident(*q, info.id, dx.data(), n, d,
                                      moved & 1 ? dshift.data() : nullptr, drotation.data(),
                                      dscratch.data(), f.data());
                    INFO(info.name, ", d ", d, ", moved ", moved);
                    CHECK(same_bits(on_host(f), expected));
                }
            }
    });
}

TEST_CASE("more rows than threads in the grid") {
    cuda_emu_seed(1);
    const auto q = make_queue();
    const index_t n = 300000, d = 4;
    const auto x = random_numbers<float>(n * d, 1), lo = std::vector<float>(4, -5),
               hi = std::vector<float>(4, 5);
    const auto step = std::vector<float>{1, 2, 3, 4};
    const auto dx = on_device(q, x), dlo = on_device(q, lo), dhi = on_device(q, hi),
               dstep = on_device(q, step);
    CboSteps<float> steps(q, n, d, 1);
    const Array<double> f(q, n), w(q, n), y_f(q, n);
    const Array<float> z(q, n * d);
    evaluate_resident<float>(*q, ObjectiveId::rastrigin, dx.data(), n, d, dhi.data(), nullptr,
                             z.data(), f.data());
    std::vector<float> scratch(static_cast<std::size_t>(objective_scratch(d, true, false)));
    std::vector<double> expected(static_cast<std::size_t>(n));
    cbo_kernels<float>().evaluate(ObjectiveId::rastrigin, x.data(), n, d, hi.data(), nullptr,
                                  scratch.data(), expected.data());
    CHECK(same_bits(on_host(f), expected));
    const auto best = steps.tidy(f.data(), nullptr, n);
    CHECK(best.row == std::min_element(expected.begin(), expected.end()) - expected.begin());
    steps.gibbs(f.data(), n, 0.01, best.f, w.data());
    std::vector<double> weights(expected.size());
    cbo_kernels<float>().gibbs(expected.data(), n, 0.01, best.f, weights.data());
    CHECK(same_bits(on_host(w), weights));
    std::fill_n(y_f.mirror(), n, inf);
    y_f.send();
    steps.remember(dx.data(), f.data(), nullptr, nullptr, n, 0, z.data(), y_f.data(), nullptr);
    CHECK(same_bits(on_host(z), x));
    Move<float> m;
    m.d = d, m.isotropic = true, m.drift = 0.1f, m.diffusion = 0.2f, m.truncation = 2,
    m.draw = {{1, 2}, 3, 4};
    Move<float> cpu = m;
    auto moved = x;
    cpu.x = moved.data(), cpu.center = step.data(), cpu.lower = lo.data(), cpu.upper = hi.data();
    m.x = dx.data(), m.center = dstep.data(), m.lower = dlo.data(), m.upper = dhi.data();
    steps.move(m, n);
    cbo_kernels<float>().move(cpu, 0, n);
    CHECK(same_bits(on_host(dx), moved));
}

TEST_CASE_TEMPLATE("algebra on the queue, row-major", T, double, float) {
    const auto q = make_queue();
    const auto a = random_numbers<T>(4 * 3, 1), b = random_numbers<T>(3 * 5, 2);
    const auto da = on_device(q, a), db = on_device(q, b);
    for (int transposed = 0; transposed < 4; ++transposed) {
        const bool ta = transposed & 1, tb = transposed & 2;
        const Array<T> c(q, 20);
        std::vector<T> expected(20);
        // 4 x 3 and 3 x 5, or what is stored as 3 x 4 and 5 x 3
        gemm<T>(ta, tb, 4, 5, 3, T(2), a.data(), ta ? 4 : 3, b.data(), tb ? 3 : 5, T(0),
                expected.data(), 5);
        gemm<T>(*q, ta, tb, 4, 5, 3, T(2), da.data(), ta ? 4 : 3, db.data(), tb ? 3 : 5, T(0),
                c.data(), 5);
        const T* got = c.fetch();
        for (index_t i = 0; i < 20; ++i)
            CHECK(got[i] == doctest::Approx(expected[static_cast<std::size_t>(i)]));
    }
    const Array<T> gram(q, 9);
    for (index_t k = 0; k < 9; ++k) gram.mirror()[k] = k % 4 == 0 ? T(1) : T(7);
    gram.send();
    syrk<T>(*q, 3, 4, T(1), da.data(), 3, T(1), gram.data(), 3);
    const auto before = on_host(gram);
    CHECK(before[1] == T(7)); // the upper triangle is left alone
    CHECK(potrf<T>(*q, 3, gram.data(), 3));
    const auto l = on_host(gram);
    CHECK(l[1] == T(7));
    CHECK(l[0] * l[0] == doctest::Approx(before[0]));
    CHECK(l[3] * l[0] == doctest::Approx(before[3]));
    CHECK(l[6] * l[3] + l[7] * l[4] == doctest::Approx(before[7]));
    CHECK(l[6] * l[6] + l[7] * l[7] + l[8] * l[8] == doctest::Approx(before[8]));
    const auto indefinite = on_device(q, std::vector<T>{1, 0, 2, 1});
    CHECK_FALSE(potrf<T>(*q, 2, indefinite.data(), 2));
    CHECK_THROWS_AS(gemm<T>(*q, false, false, index_t{1} << 31, 1, 1, T(1), da.data(), 1, db.data(),
                            1, T(0), gram.data(), 1),
                    std::invalid_argument);
}

TEST_CASE("arrays: zeroed, copied through the pinned buffer, kept alive, refused when too large") {
    const auto q = make_queue();
    const index_t n = (1 << 18) + 3; // two pinned buffers and a bit
    const Array<double> a(q, n), b(q, n);
    for (const double v : on_host(a)) REQUIRE(v == 0);
    const auto numbers = random_numbers<double>(n, 1);
    std::copy(numbers.begin(), numbers.end(), a.mirror());
    a.send();
    copy(*q, b.data(), a.data(), numbers.size() * sizeof(double));
    CHECK(same_bits(on_host(b), numbers));
    const Array<double> same = b;
    CHECK(same.data() == b.data());
    CHECK(same.take().size() == n);
    CHECK(Array<double>(q, 0).data() == nullptr);
    CHECK_THROWS_AS(Array<double>(q, std::numeric_limits<index_t>::max()), std::bad_alloc);
    cuda_emu_memory_limit(4096);
    CHECK_THROWS_AS(Array<double>(q, 1 << 20), std::bad_alloc);
    cuda_emu_memory_limit(0);
}

TEST_CASE("the device's best: measured, given back, and refused for no work") {
    const CudaRates rates = cuda_rates(1 << 16, 16, 2);
    CHECK(rates.bytes > 0);
    CHECK(rates.flops_f64 > 0);
    CHECK(rates.flops_f32 > 0);
    CHECK_THROWS_AS(cuda_rates(0, 16, 2), std::invalid_argument);
    const long start = cuda_emu_calls(), released = cuda_emu_releases();
    cuda_rates(64, 4, 1);
    const long calls = cuda_emu_calls() - start;
    long quiet = cuda_emu_releases() - released; // these may fail unnoticed
    for (long n = 1; n <= calls; ++n) {
        cuda_emu_fail_call(n);
        try {
            cuda_rates(64, 4, 1);
            --quiet;
        } catch (const BackendError&) {
        }
        cuda_emu_fail_call(0);
        CHECK(cuda_emu_live() == 0);
    }
    CHECK(quiet == 0);
}

TEST_CASE("the device describes itself") {
    const CudaInfo info = cuda_info();
    CHECK(info.available);
    CHECK(info.reason.empty());
    CHECK(info.device == "emulated device");
    CHECK(info.runtime == "13.0");
    CHECK(info.driver == "13.0");
    ::setenv("CUDA_EMU_NO_DEVICE", "1", 1);
    CHECK_FALSE(cuda_info().available);
    CHECK(cuda_info().reason == "no CUDA-capable device is detected");
    try {
        make_queue();
        FAIL("a queue without a device");
    } catch (const BackendError& error) {
        CHECK(std::string(error.what()).find("no CUDA-capable device") != std::string::npos);
        CHECK(std::string(error.what()).find("device='cpu'") != std::string::npos);
    }
    ::unsetenv("CUDA_EMU_NO_DEVICE");
    CHECK(cuda_emu_live() == 0);
}
