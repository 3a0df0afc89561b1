#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "admm_relu/anderson.hpp"
#include "admm_relu/gates.hpp"
#include "admm_relu/program.hpp"
#include "admm_relu/symmetric.hpp"

using namespace fastopt;

namespace {

std::vector<double> normals(index_t n, unsigned seed) {
    std::mt19937_64 source(seed);
    std::normal_distribution<double> normal;
    std::vector<double> x(static_cast<std::size_t>(n));
    for (double& value : x) value = normal(source);
    return x;
}

// A = B'B + I, both triangles.
std::vector<double> definite(index_t n, unsigned seed) {
    const auto b = normals(n * n, seed);
    std::vector<double> a(static_cast<std::size_t>(n * n));
    gemm(true, false, n, n, n, 1.0 / n, b.data(), n, b.data(), n, 0.0, a.data(), n);
    for (index_t i = 0; i < n; ++i) a[i * n + i] += 1;
    return a;
}

double largest(const std::vector<double>& x, const std::vector<double>& y) {
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
    return worst;
}

struct Problem {
    index_t n, d, p, c;
    std::vector<double> x, gates, f; // f: Fh stored densely, (n, P d)

    Problem(index_t n_, index_t d_, index_t p_, index_t c_)
        : n(n_), d(d_), p(p_), c(c_), x(normals(n * d, 1)),
          gates(gate_patterns(n, d, x.data(), normals(p * d, 2))),
          f(static_cast<std::size_t>(n * p * d)) {
        for (index_t j = 0; j < n; ++j)
            for (index_t i = 0; i < p; ++i)
                for (index_t k = 0; k < d; ++k)
                    f[j * p * d + i * d + k] = gates[i * n + j] * x[j * d + k];
    }
    index_t m() const { return p * d; }
};

} // namespace

TEST_CASE("tiled Cholesky, inverse, product and solve agree with the definition") {
    for (const index_t n : {1, 7, 128, 129, 300, 517})
        for (const index_t c : {1, 3}) {
            const auto a = definite(n, 3);
            auto inverse = a;
            std::vector<double> upper(a); // the strict upper triangle must survive
            REQUIRE(tiled_potrf(n, inverse.data(), 2));
            const auto x = normals(c * n, 4);
            std::vector<double> b(x.size()), solved, multiplied(x.size());
            gemm(false, false, c, n, n, 1.0, x.data(), n, a.data(), n, 0.0, b.data(), n);
            solved = b;
            tiled_solve(n, c, inverse.data(), solved.data(), 2);
            CHECK(largest(solved, x) < 1e-10);
            tiled_inverse(n, inverse.data(), 2);
            SymmetricProduct<double> product(n, c);
            product.set_diagonal_tiles(inverse.data());
            product(inverse.data(), b.data(), multiplied.data(), 2);
            CHECK(largest(multiplied, x) < 1e-10);
            for (index_t i = 0; i < n; ++i)
                for (index_t j = i + 1; j < n; ++j) REQUIRE(inverse[i * n + j] == upper[i * n + j]);
            std::vector<double> alone(b.size());
            product(inverse.data(), b.data(), alone.data(), 1);
            CHECK(alone == multiplied);
        }
    std::vector<double> indefinite = {1, 0, 2, 1};
    CHECK_FALSE(tiled_potrf(2, indefinite.data(), 1));
}

TEST_CASE("products with F agree with the dense matrix") {
    for (const index_t n : {1, 40, 700}) {
        const Problem q(n, 5, 9, 2);
        Design<double> design(q.n, q.d, q.p, q.c, q.x.data(), q.gates.data(), 2);
        const auto e = normals(q.c * q.m(), 5), t = normals(q.c * n, 6);
        std::vector<double> z(t.size()), dense_z(t.size()), g(e.size()), dense_g(e.size());
        design.forward(e.data(), z.data());
        gemm(false, true, q.c, n, q.m(), 1.0, e.data(), q.m(), q.f.data(), q.m(), 0.0,
             dense_z.data(), n);
        CHECK(largest(z, dense_z) < 1e-12 * q.m());
        design.adjoint(t.data(), g.data());
        gemm(false, false, q.c, q.m(), n, 1.0, t.data(), n, q.f.data(), q.m(), 0.0, dense_g.data(),
             q.m());
        CHECK(largest(g, dense_g) < 1e-12 * n);
    }
}

TEST_CASE("the three forms of the graph projection satisfy its optimality conditions") {
    for (const int signs : {1, 2})
        for (const index_t n : {30, 90}) // rows and columns
            for (const index_t dense : {10000, 0}) {
                const Problem q(n, 4, 12, 2);
                Design<double> design(q.n, q.d, q.p, q.c, q.x.data(), q.gates.data(), 2);
                GraphProjection<double> graph(design, signs, dense);
                const double gamma = 0.7;
                graph.set(gamma);
                const auto a = normals(signs * q.c * q.m(), 7), b = normals(q.c * n, 8);
                std::vector<double> u(a.size()), zeta(b.size()), r(b.size()), g(a.size() / signs);
                graph.project(a.data(), b.data(), u.data(), zeta.data(), true, 1e-13);
                std::vector<double> e(g.size()), fu(b.size());
                for (std::size_t i = 0; i < e.size(); ++i)
                    e[i] = signs == 2 ? u[i] - u[e.size() + i] : u[i];
                design.forward(e.data(), fu.data());
                CHECK(largest(fu, zeta) < 1e-9);
                for (std::size_t i = 0; i < r.size(); ++i) r[i] = fu[i] - b[i];
                design.adjoint(r.data(), g.data()); // u - a + gamma F'(F u - b) = 0
                double worst = 0;
                for (std::size_t i = 0; i < u.size(); ++i) {
                    const double sign = i < g.size() ? 1 : -1;
                    worst = std::max(worst, std::abs(u[i] - a[i] + gamma * sign * g[i % g.size()]));
                }
                CHECK(worst < 1e-8);
            }
}

TEST_CASE("cone projections satisfy the conditions of Moreau") {
    for (const auto& [n, d] : {std::pair<index_t, index_t>{1, 3}, {40, 4}, {300, 10}, {80, 70}}) {
        const Problem q(n, d, 5, 1);
        ConeProjector cones(n, d, q.p, q.x.data(), q.gates.data(), 2);
        ActiveSets sets(2 * q.p);
        auto r = normals(2 * q.m(), 9);
        std::vector<double> v(r.size()), norm(static_cast<std::size_t>(sets.blocks));
        for (int call = 0; call < 4; ++call) { // warm starts after the first
            cones.project(2 * q.p, r.data(), 0.0, sets, v.data(), norm.data());
            for (index_t b = 0; b < 2 * q.p; ++b) {
                const double* vb = v.data() + b * d;
                const double* rb = r.data() + b * d;
                CHECK(cones.violation(b % q.p, vb) < 1e-10);
                double inner = 0, length = 0; // v orthogonal to r - v
                for (index_t k = 0; k < d; ++k)
                    inner += vb[k] * (rb[k] - vb[k]), length += rb[k] * rb[k];
                CHECK(std::abs(inner) < 1e-10 * length);
                for (const double mu : sets[b].mu) CHECK(mu >= 0); // r - v in the polar cone
            }
            const auto shift = normals(2 * q.m(), 10u + call);
            for (std::size_t i = 0; i < r.size(); ++i) r[i] += 0.05 * shift[i];
        }
    }
}

TEST_CASE("a level cuts off exactly the projections below it") {
    const Problem q(100, 6, 8, 1);
    ConeProjector cones(q.n, q.d, q.p, q.x.data(), q.gates.data(), 1);
    const auto r = normals(2 * q.m(), 11);
    std::vector<double> v(r.size()), all(16), cut(16);
    ActiveSets one(16), other(16);
    cones.project(16, r.data(), 0.0, one, v.data(), all.data());
    const double level = all[5];
    cones.project(16, r.data(), level, other, v.data(), cut.data());
    for (int b = 0; b < 16; ++b)
        CHECK(cut[b] ==
              doctest::Approx(all[b] > level * (1 + 1e-12) ? all[b] : 0.0).epsilon(1e-10));
}

TEST_CASE("face bases are orthonormal and orthogonal to the active rows") {
    const Problem q(60, 8, 3, 1);
    ConeProjector cones(q.n, q.d, q.p, q.x.data(), q.gates.data(), 1);
    ActiveSets sets(3);
    auto r = normals(3 * q.d, 12);
    std::vector<double> v(r.size()), norm(3);
    cones.project(3, r.data(), 0.0, sets, v.data(), norm.data());
    for (const ActiveSet& s : sets.on_host) {
        const auto z = cones.face_basis(s);
        const index_t k = static_cast<index_t>(z.size()) / q.d;
        CHECK(k + s.size() == q.d);
        for (index_t i = 0; i < k; ++i) {
            for (index_t j = 0; j < k; ++j)
                CHECK(dot(q.d, z.data() + i * q.d, z.data() + j * q.d) ==
                      doctest::Approx(i == j).epsilon(1e-10));
            for (const index_t row : s.rows)
                CHECK(std::abs(dot(q.d, z.data() + i * q.d, q.x.data() + row * q.d)) < 1e-9);
        }
    }
}

TEST_CASE("Anderson acceleration solves a linear fixed point in as many steps as dimensions") {
    const index_t n = 12;
    const auto shift = normals(n, 13);
    std::vector<double> r(static_cast<std::size_t>(n)), rn(r.size());
    Anderson<double> anderson(n, 0, 20);
    double error = 1;
    for (int k = 0; k < 40 && error > 1e-9; ++k) {
        error = 0;
        for (index_t i = 0; i < n; ++i) { // r -> A r + b, |A| = 0.99
            rn[i] = (0.99 * static_cast<double>(i + 1) / n) * r[i] + shift[i];
            error = std::max(error, std::abs(rn[i] - r[i]));
        }
        anderson.next(r.data(), rn.data(), 1, 1);
    }
    CHECK(error <= 1e-9);
}

TEST_CASE("robust cones: Moreau's conditions for every sign pattern") {
    const index_t n = 12, d = 4;
    Problem q(n, d, 3, 1);
    for (index_t j = 0; j < n; ++j) q.x[j * d] = 1 + std::abs(q.x[j * d]);
    const std::vector<double> h = {1, 0, 0, 0, 1, 0.1, 0.1, -0.1, 1, -0.2, 0, 0.1};
    q.gates = gate_patterns(n, d, q.x.data(), h);
    const std::vector<double> radius = {0.0, 0.1, 0.02, 0.2};
    ConeProjector cones(n, d, 3, q.x.data(), q.gates.data(), 2, radius);
    const auto r = normals(6 * d, 21);
    ActiveSets sets(6);
    std::vector<double> v(r.size()), norm(6);
    cones.project(6, r.data(), 0.0, sets, v.data(), norm.data());
    for (index_t b = 0; b < 6; ++b) {
        const double* vb = v.data() + b * d;
        double inner = 0;
        for (index_t k = 0; k < d; ++k) inner += vb[k] * (r[b * d + k] - vb[k]);
        CHECK(std::abs(inner) < 1e-10);
        for (const double mu : sets[b].mu) CHECK(mu >= 0);
        CHECK(cones.violation(b % 3, vb) < 1e-10);
        for (index_t j = 0; j < n; ++j)
            for (int s = 0; s < 1 << d; ++s) {
                double slack = 0;
                const double e = 2 * q.gates[b % 3 * n + j] - 1;
                for (index_t k = 0; k < d; ++k)
                    slack += (e * q.x[j * d + k] - (s >> k & 1 ? 1 : -1) * radius[k]) * vb[k];
                CHECK(slack > -1e-9);
            }
    }
    CHECK(*std::max_element(norm.begin(), norm.end()) > 0);
}

TEST_CASE("the prox of a robust loss leaves a dual point that Fenchel's equality holds for") {
    const index_t n = 40, d = 5;
    const auto x = normals(n * d, 22), a = normals(d * n, 23);
    auto y = normals(n, 24);
    for (const LossKind kind :
         {LossKind::squared, LossKind::logistic, LossKind::hinge, LossKind::squared_hinge}) {
        auto target = y;
        if (kind != LossKind::squared)
            for (double& value : target) value = value > 0 ? 1 : -1;
        const Loss loss(kind, n, 1, target, std::vector<double>(n, 1.5), 1, 1);
        const RobustLoss robust(loss, n, d, x.data(), {0.1, 0.0, 0.3, 0.2, 0.05}, 2);
        std::vector<double> q(a.size()), t(static_cast<std::size_t>((d + 2) * n));
        robust.prox(a.data(), 0.7, q.data(), t.data());
        double inner = 0;
        for (std::size_t i = 0; i < q.size(); ++i) inner += q[i] * t[i];
        const double value = robust.value(q.data()), conjugate = robust.conjugate(t.data());
        CHECK(value + conjugate == doctest::Approx(inner).epsilon(1e-9));
    }
}

TEST_CASE("gates are distinct, not empty, and the same for the same key") {
    const auto x = normals(50 * 3, 14);
    const auto gates = sample_gates(50, 3, x.data(), 20, {1, 2}, 0, {});
    CHECK(gates.size() == 20 * 3);
    CHECK(gates == sample_gates(50, 3, x.data(), 20, {1, 2}, 0, {}));
    const auto d = gate_patterns(50, 3, x.data(), gates);
    for (int i = 0; i < 20; ++i)
        for (int j = 0; j < i; ++j)
            CHECK_FALSE(std::equal(&d[i * 50], &d[i * 50] + 50, &d[j * 50]));
    // One point on a line has two patterns, one of them empty.
    const std::vector<double> point = {1.0};
    CHECK(sample_gates(1, 1, point.data(), 10, {1, 2}, 0, {}).size() == 1);
}

TEST_CASE("the solution does not depend on the number of threads") {
    const Problem q(300, 5, 20, 1);
    const auto y = normals(q.n, 15);
    std::vector<double> first;
    for (const int threads : {1, 2, 3}) {
        ProgramShape shape;
        shape.n = q.n, shape.d = q.d, shape.n_gates = q.p;
        Program program(shape, q.x.data(), q.gates.data(),
                        Loss(LossKind::squared, q.n, 1, y, {}, 1, threads), threads);
        SplittingSolver<double> solver(program, 20000);
        AdmmMonitor monitor;
        const AdmmResult r = solver.solve(2.0, AdmmOptions(), nullptr, monitor);
        CHECK(r.status == Status::converged);
        CHECK(r.dual <= r.fun);
        CHECK(r.fun - r.dual <= 1e-4 * r.fun);
        CHECK(r.violation < 1e-10);
        if (first.empty()) first = r.weights;
        CHECK(r.weights == first);
    }
}
