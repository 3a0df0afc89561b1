// What admm_relu's steps give on small inputs, one named vector after another. Compiled twice: with
// the CPU's steps the numbers are written to a file, with the CUDA backend's they are compared with
// it (admm_reference.cpp, test_admm_kernels.cpp).
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "admm_relu/anderson.hpp"
#include "admm_relu/gates.hpp"
#include "admm_relu/paper_steps.hpp"
#include "admm_relu/program.hpp"

namespace admm_cases {

using namespace fastopt;

using Numbers = std::vector<double>;

template <class T = double> std::vector<T> random_numbers(index_t n, unsigned seed) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) x = static_cast<T>(normal(engine));
    return v;
}

template <class T> Array<T> on_device(const std::shared_ptr<Queue>& q, const std::vector<T>& v) {
    const Array<T> a(q, static_cast<index_t>(v.size()));
    std::copy(v.begin(), v.end(), a.mirror());
    a.send();
    return a;
}
template <class T> Numbers on_host(const Array<T>& a) {
    const T* p = a.fetch();
    return {p, p + a.size()};
}

struct Shape {
    index_t n, d, p, c;
};

// X, gates and starting points of a program.
struct Samples {
    explicit Samples(const Shape& s)
        : shape(s), x(random_numbers(s.n * s.d, 1)),
          gates(gate_patterns(s.n, s.d, x.data(), random_numbers(s.p * s.d, 2))) {}
    Shape shape;
    Numbers x, gates;
};

// `sink(name, numbers, tolerance)`: relative to the largest of the numbers; 0: the same bits.
template <class Sink> class Cases {
  public:
    Cases(Sink& sink, std::shared_ptr<Queue> q) : sink_(sink), q_(std::move(q)) {}

    template <class T> void steps(index_t n) {
        name("steps", n, sizeof(T));
        AdmmSteps s(q_, 1);
        const auto a = on_device(q_, random_numbers(2 * n, 3)),
                   b = on_device(q_, random_numbers(n, 4));
        const auto r = on_device(q_, random_numbers<T>(2 * n, 5)),
                   u = on_device(q_, random_numbers<T>(2 * n, 6));
        const Array<T> out(q_, 2 * n), more = r.clone(), last = u.clone();
        const Array<double> wide(q_, n);
        s.convert(n, r.data(), wide.data()), keep("convert", wide, 0);
        s.subtract(n, r.data(), u.data(), out.data()), keep("subtract", out, 0);
        s.add(n, r.data(), u.data(), out.data()), keep("add", out, 0);
        s.scale(n, -0.3, a.data(), wide.data()), keep("scale", wide, 0);
        s.scaled_difference(n, 0.7, a.data(), b.data(), wide.data());
        keep("scaled_difference", wide, 0);
        s.reflect(n, a.data(), b.data(), out.data()), keep("reflect", out, 0);
        s.relax(n, 1.9, r.data(), u.data(), a.data(), out.data()), keep("relax", out, 0);
        s.gradient_step(n, 1.3, a.data(), wide.data()), keep("gradient_step", wide, 0);
        s.add_multiplier(n, 1.3, a.data(), b.data(), out.data()), keep("add_multiplier", out, 0);
        s.between(n, 0.25, a.data(), b.data(), wide.data()), keep("between", wide, 0);
        s.rescale(n, 1.7, a.data(), r.data(), out.data()), keep("rescale", out, 0);
        s.add_scaled(n, 0.6, r.data(), out.data()), keep("add_scaled", out, 0);
        for (const int signs : {1, 2}) {
            s.step_halves(n, signs, 0.4, r.data(), u.data(), out.data()), keep("step", out, 0);
            s.join_halves(n, signs, r.data(), u.data(), out.data()), keep("join", out, 0);
        }
        s.next_differences(n, r.data(), last.data(), more.data(), out.data(), more.data() + n);
        keep("last", last, 0), keep("differences", out, 0), keep("g", more, 0);

        keep("dot", Numbers{s.dot(n, a.data(), b.data())}, 1e-12);
        const auto d = s.distances(n, a.data(), b.data(), a.data() + n, r.data());
        keep("distances", Numbers{d.length, d.from_state, d.from_last, d.from_y}, 1e-12);
        const double rounding = sizeof(T) == 8 ? 1e-12 : 1e-5;
        keep("inner", Numbers{s.inner(n, n, r.data(), u.data(), 0.3, 0.8)}, rounding);
        Numbers both(2);
        s.inners(1, r.data(), n, index_t{0}, r.data(), u.data(), 0.3, 0.8, &both[0], &both[1]);
        keep("one row", both, rounding);
        const auto rows = on_device(q_, random_numbers<T>(5 * 2 * n, 7));
        Numbers with_a(5), with_b(5);
        s.inners(5, rows.data(), n, n, r.data(), u.data(), 0.3, 0.8, with_a.data(), with_b.data());
        keep("with a", with_a, rounding), keep("with b", with_b, rounding);
        s.subtract_rows(5, with_a.data(), rows.data(), 2 * n, r.data());
        keep("subtract_rows", r, rounding);
    }

    template <class T> void rows(index_t count, index_t n) {
        name("rows", count, 10 * n + index_t{sizeof(T)});
        AdmmSteps s(q_, 1);
        const index_t size = count * n;
        const auto a = on_device(q_, random_numbers<T>(size, 32)),
                   b = on_device(q_, random_numbers<T>(size, 33)),
                   x = on_device(q_, random_numbers<T>(size, 34));
        const auto rho = on_device(q_, random_numbers(count, 35)), // not all positive
            curvature = on_device(q_, random_numbers(count, 36));
        const Array<double> dots(q_, count);
        s.row_dots(count, n, a.data(), b.data(), dots.data());
        keep("dots", dots, sizeof(T) == 8 ? 1e-12 : 1e-4);
        const Array<T> r = b.clone(), turned(q_, size);
        s.advance_rows(count, n, rho.data(), curvature.data(), a.data(), b.data(), x.data(),
                       r.data());
        keep("x", x, 0), keep("r", r, 0);
        s.turn_rows(count, n, rho.data(), curvature.data(), a.data(), x.data()), keep("q", x, 0);
        s.scale_and_add(size, 0.6, a.data(), x.data()), keep("scale_and_add", x, 0);
        s.transpose(1, count, n, a.data(), turned.data()), keep("transpose", turned, 0);
        if (n % 2 == 0) s.transpose(2, n / 2, count, a.data(), turned.data());
        keep("two", turned, 0);
    }

    void blocks(index_t count, index_t w) {
        name("blocks", count, w);
        AdmmSteps s(q_, 1);
        const auto v = on_device(q_, random_numbers(count * w, 8));
        const Array<double> norm(q_, count), to(q_, count * w);
        s.block_norms(count, w, v.data(), norm.data()), keep("norms", norm, 1e-14);
        keep("sum", Numbers{s.sum_of_norms(count, w, v.data())}, 1e-13);
        keep("largest", Numbers{s.largest(count, norm.data())}, 1e-14);
        s.shrink(count, w, 0.8, norm.data(), v.data(), to.data()), keep("shrink", to, 1e-13);
    }

    // Equal and different states of the active sets, as 0 and 1.
    void signatures() {
        name("signature", 0, 0);
        const Samples k({40, 4, 5, 1});
        AdmmSteps s(q_, 1);
        const auto x = on_device(q_, k.x), gates = on_device(q_, k.gates);
        ConeProjector cones(40, 4, 5, x.data(), gates.data(), 1, {}, q_);
        const auto r = on_device(q_, random_numbers(10 * 4, 9));
        const Array<double> v(q_, 40), norm(q_, 10);
        ActiveSets sets(10), none(0);
        cones.project(10, r.data(), 0.0, sets, v.data(), norm.data());
        const auto one = s.signature(10, norm.data(), 0.1, sets);
        const ActiveSets copy(sets);
        Numbers differ{double(one != s.signature(10, norm.data(), 0.1, copy)),
                       double(one != s.signature(10, norm.data(), 1.0, sets)),
                       double(one != s.signature(10, norm.data(), 0.1, none))};
        const auto other = on_device(q_, random_numbers(10 * 4, 10));
        const Array<double> ignored(q_, 10);
        cones.project(10, other.data(), 0.0, sets, v.data(), ignored.data());
        differ.push_back(double(one != s.signature(10, norm.data(), 0.1, sets)));
        keep("differ", differ, 0);
    }

    template <class T>
    void design(const Shape& s, double rounding = sizeof(T) == 8 ? 1e-11 : 2e-3) {
        name("design", s.n * 1000 + s.d, s.p * 100 + s.c * 10 + index_t{sizeof(T)});
        const Samples k(s);
        const auto x = on_device(q_, std::vector<T>(k.x.begin(), k.x.end())),
                   gates = on_device(q_, std::vector<T>(k.gates.begin(), k.gates.end()));
        Design<T> f(s.n, s.d, s.p, s.c, x.data(), gates.data(), 1, q_);
        const auto e = on_device(q_, random_numbers<T>(f.half(), 11)),
                   t = on_device(q_, random_numbers<T>(s.c * s.n, 12));
        const Array<T> z(q_, s.c * s.n), g(q_, f.half());
        f.forward(e.data(), z.data()), keep("forward", z, rounding);
        f.adjoint(t.data(), g.data()), keep("adjoint", g, rounding);
        for (const int signs : {1, 2}) {
            GraphProjection<T> graph(f, signs, 10000);
            const auto a = on_device(q_, random_numbers<T>(signs * f.half(), 13));
            const Array<T> u(q_, signs * f.half());
            for (const double gamma : {0.7, 0.05}) {
                graph.set(gamma);
                graph.project(a.data(), t.data(), u.data(), z.data(), true, 1e-13);
                keep("u", u, rounding), keep("zeta", z, rounding);
            }
            graph.fix_target(t.data());
            graph.project(a.data(), t.data(), u.data(), z.data(), false, 1e-13);
            keep("u, fixed", u, rounding);
        }
    }

    // Conjugate gradients where `design` has a dense system.
    template <class T> void iterative(const Shape& s) {
        name("iterative", s.n * 1000 + s.d, s.p * 100 + s.c * 10 + index_t{sizeof(T)});
        const bool fine = sizeof(T) == 8;
        const Samples k(s);
        const auto x = on_device(q_, std::vector<T>(k.x.begin(), k.x.end())),
                   gates = on_device(q_, std::vector<T>(k.gates.begin(), k.gates.end()));
        Design<T> f(s.n, s.d, s.p, s.c, x.data(), gates.data(), 1, q_);
        const auto a = on_device(q_, random_numbers<T>(2 * f.half(), 37)),
                   t = on_device(q_, random_numbers<T>(s.c * s.n, 38));
        const Array<T> u(q_, 2 * f.half()), z(q_, s.c * s.n);
        GateBlocks<T> blocks(f);
        GraphProjection<T> graph(f, 2, 0);
        for (const double gamma : {0.7, 0.05}) {
            blocks.factorise(gamma);
            blocks.solve(a.data(), u.data()), keep("blocks", u, fine ? 1e-11 : 1e-3);
            graph.set(gamma);
            graph.project(a.data(), t.data(), u.data(), z.data(), true, fine ? 1e-13 : 1e-5);
            keep("u", u, fine ? 1e-9 : 2e-3), keep("zeta", z, fine ? 1e-9 : 2e-3);
        }
        keep("some iterations", Numbers{double(graph.cg_iterations() > 0)}, 0);
    }

    template <class T> void losses(index_t n, index_t c) {
        Numbers weights = random_numbers(n, 14);
        for (double& w : weights) w = w > -1 ? std::abs(w) : 0;
        for (int number = 0; number < 7; ++number) {
            const auto kind = static_cast<LossKind>(number);
            name("loss " + std::to_string(number), n, 10 * c + index_t{sizeof(T)});
            Numbers y = random_numbers(c * n, 15), z = random_numbers(c * n, 16);
            if (kind == LossKind::logistic || kind == LossKind::hinge ||
                kind == LossKind::squared_hinge)
                for (double& v : y) v = v > 0 ? 1 : -1;
            if (kind == LossKind::softmax)
                for (index_t i = 0; i < c * n; ++i) y[std::size_t(i)] = i / n == i % n % c ? 1 : 0;
            for (const bool weighted : {false, true}) {
                const Loss loss(kind, n, c, y, weighted ? weights : Numbers(), 0.4, 1, q_);
                const auto at = on_device(q_, z);
                const Array<double> t(q_, c * n), h(q_, c * n);
                keep("value", Numbers{loss.value(at.data())}, 1e-12);
                loss.gradient(at.data(), t.data()), keep("gradient", t, 1e-13);
                keep("conjugate", Numbers{loss.conjugate(t.data())}, 1e-12);
                const auto out = on_device(q_, Numbers(std::size_t(c * n), 3.0));
                keep("outside", Numbers{loss.conjugate(out.data())}, 1e-12);
                keep("curved", Numbers{double(loss.curvature(at.data(), h.data()))}, 0);
                keep("curvature", h, 1e-13);
                const auto r = on_device(q_, random_numbers<T>(c * n, 17));
                const Array<T> moved(q_, c * n);
                loss.prox(r.data(), 0.6, moved.data());
                keep("prox", moved, sizeof(T) == 8 ? 1e-11 : 1e-6);
            }
        }
    }

    void robust(index_t n, index_t d,
                const std::vector<LossKind>& kinds = {LossKind::squared, LossKind::logistic,
                                                      LossKind::hinge, LossKind::squared_hinge}) {
        const auto x = on_device(q_, random_numbers(n * d, 39));
        Numbers weights = random_numbers(n, 40), radius = random_numbers(d, 41);
        for (double& w : weights) w = 0.3 + std::abs(w);
        for (double& e : radius) e = 0.1 * std::max(e, 0.0) + 0.02;
        for (const LossKind kind : kinds) {
            name("robust " + std::to_string(static_cast<int>(kind)), n, d);
            Numbers y = random_numbers(n, 42), slopes = random_numbers(d * n, 43);
            for (double& v : y) v = kind == LossKind::squared ? v : v > 0 ? 1 : -1;
            for (double& v : slopes) v = v > -1 ? v : 0;
            for (const bool weighted : {false, true}) {
                const Loss loss(kind, n, 1, y, weighted ? weights : Numbers(), 1, 1, q_);
                const RobustLoss robust(loss, n, d, x.data(), radius, 1);
                const auto at = on_device(q_, slopes);
                const Array<double> t(q_, (d + 2) * n), q(q_, d * n);
                keep("value", Numbers{robust.value(at.data())}, 1e-12);
                robust.gradient(at.data(), t.data()), keep("gradient", t, 1e-13);
                keep("conjugate", Numbers{robust.conjugate(t.data())}, 1e-11);
                for (const double rho : {0.02, 0.6, 40.0}) {
                    robust.prox(at.data(), rho, q.data(), t.data());
                    keep("prox", q, 1e-12), keep("its dual point", t, 1e-12);
                    keep("conjugate there", Numbers{robust.conjugate(t.data())}, 1e-10);
                }
            }
        }
    }

    // Samples with a box around each, and gates the first of which is open for all of them.
    static Samples wide(const Shape& s) {
        Samples k(s);
        Numbers directions = random_numbers(s.p * s.d, 2);
        for (index_t j = 0; j < s.n; ++j) {
            double& first = k.x[static_cast<std::size_t>(j * s.d)];
            first = 1 + std::abs(first);
        }
        for (index_t l = 0; l < s.d; ++l) directions[static_cast<std::size_t>(l)] = l == 0;
        k.gates = gate_patterns(s.n, s.d, k.x.data(), directions);
        return k;
    }
    static Numbers boxes(index_t d) {
        Numbers radius(static_cast<std::size_t>(d), 0.02);
        radius[0] = 0; // as the column of ones has none
        return radius;
    }

    void robust_cones(const Shape& s, double size) {
        name("robust cones", s.n * 1000 + s.d, s.p);
        const Samples k = wide(s);
        const index_t count = 2 * s.p;
        const auto x = on_device(q_, k.x), gates = on_device(q_, k.gates);
        ConeProjector projector(s.n, s.d, s.p, x.data(), gates.data(), 1, boxes(s.d), q_);
        ActiveSets sets(count);
        Numbers r = random_numbers(count * s.d, 44);
        for (double& v : r) v *= size;
        const Array<double> v(q_, count * s.d), norm(q_, count);
        for (unsigned call = 0; call < 3; ++call) {
            for (index_t b = 0; b < count; ++b) r[static_cast<std::size_t>(b * s.d)] += 1;
            const auto from = on_device(q_, r);
            keep("before", Numbers{projector.worst_violation(count, from.data())}, 1e-12);
            projector.project(count, from.data(), 0.0, sets, v.data(), norm.data());
            keep("v", v, 1e-9), keep("norm", norm, 1e-9);
            keep("feasible", Numbers{double(projector.worst_violation(count, v.data()) < 1e-10)},
                 0);
        }
    }

    void robust_program(const Shape& s, LossKind kind) {
        name("robust program", s.n * 1000 + s.d, s.p * 10 + static_cast<int>(kind));
        const Samples k = wide(s);
        ProgramShape shape;
        shape.n = s.n, shape.d = s.d, shape.n_gates = s.p, shape.robust = true;
        Numbers y = random_numbers(s.n, 45);
        for (double& v : y) v = kind == LossKind::squared ? v : v > 0 ? 1 : -1;
        Program program(shape, k.x.data(), k.gates.data(), Loss(kind, s.n, 1, y, {}, 1, 1, q_), 1,
                        boxes(s.d));
        const auto v = on_device(q_, random_numbers(shape.size(), 46));
        const Array<double> z(q_, shape.predictions()), t(q_, shape.dual_size()),
            g(q_, shape.size());
        keep("beta_max", Numbers{program.beta_max()}, 1e-9);
        program.make_feasible(v.data()), keep("feasible", v, 1e-9);
        keep("objective", Numbers{program.objective(v.data(), 0.3, z.data())}, 1e-9);
        keep("z", z, 1e-9);
        program.gradient(z.data(), t.data());
        program.pull_back(t.data(), g.data()), keep("pulled back", g, 1e-9);
        keep("dual", Numbers{program.dual(t.data(), 0.5)}, 1e-8);
    }

    // `twins`: each second row is nearly the one before, so that no set holds both.
    void cones(const Shape& s, index_t calls, bool twins = false) {
        name(twins ? "twins" : "cones", s.n * 1000 + s.d, s.p);
        Samples k(s);
        for (index_t i = 0; twins && i < s.n * s.d; ++i)
            if (const auto at = static_cast<std::size_t>(i); i / s.d % 2)
                k.x[at] = k.x[at - static_cast<std::size_t>(s.d)] + 1e-10 * k.x[at];
        const double rounding = twins ? 1e-8 : 1e-10;
        const index_t count = 2 * s.p;
        const auto x = on_device(q_, k.x), gates = on_device(q_, k.gates);
        ConeProjector projector(s.n, s.d, s.p, x.data(), gates.data(), 1, {}, q_);
        ActiveSets sets(count);
        Numbers r = random_numbers(count * s.d, 18);
        const Array<double> v(q_, count * s.d), norm(q_, count);
        for (index_t call = 0; call < calls; ++call) { // warm starts after the first
            const auto from = on_device(q_, r);
            keep("before", Numbers{projector.worst_violation(count, from.data())}, 1e-12);
            projector.project(count, from.data(), call < 2 ? 0.0 : 0.8, sets, v.data(),
                              norm.data());
            keep("v", v, rounding), keep("norm", norm, rounding);
            keep("feasible", Numbers{double(projector.worst_violation(count, v.data()) < rounding)},
                 0);
            const auto shift = random_numbers(count * s.d, 19 + static_cast<unsigned>(call));
            for (std::size_t i = 0; i < r.size(); ++i) r[i] += 0.3 * shift[i];
        }
    }

    // A program's own functions and Newton's direction.
    void program(const Shape& s, bool cone, bool single_columns) {
        name("program", s.n * 1000 + s.d, s.p * 100 + s.c * 10 + 2 * cone + single_columns);
        Samples k(s);
        if (single_columns) k.gates.assign(static_cast<std::size_t>(s.n), 1.0);
        ProgramShape shape;
        shape.n = s.n, shape.d = s.d, shape.n_gates = single_columns ? 1 : s.p, shape.c = s.c;
        shape.cone = cone, shape.signs = cone ? 2 : 1, shape.single_columns = single_columns;
        const Numbers y = random_numbers(s.c * s.n, 20);
        Program program(shape, k.x.data(), k.gates.data(),
                        Loss(LossKind::squared, s.n, s.c, y, {}, 1, 1, q_), 1);
        const auto t = on_device(q_, random_numbers(s.c * s.n, 21));
        keep("norm", Numbers{program.dual_norm(t.data(), 0.1)}, 1e-10);
        keep("gated norm", Numbers{program.gated_dual_norm(t.data())}, 1e-12);
        keep("beta_max", Numbers{program.beta_max()}, 1e-10);
        keep("dual", Numbers{program.dual(t.data(), 0.5)}, 1e-9);
        const auto r = on_device(q_, random_numbers(shape.size(), 22));
        const Array<double> v(q_, shape.size()), z(q_, s.c * s.n), norm(q_, shape.blocks()),
            next(q_, shape.size());
        ActiveSets sets(cone ? shape.blocks() : 0);
        if (cone)
            program.cones().project(shape.blocks(), r.data(), 0.5, sets, v.data(), norm.data());
        else
            program.steps.copy(shape.size(), r.data(), v.data());
        keep("objective", Numbers{program.objective(v.data(), 0.3, z.data())}, 1e-10);
        keep("z", z, 1e-10);
        const bool moved = newton_direction(program, 0.3, v.data(), z.data(), sets, next.data());
        keep("moved", Numbers{double(moved)}, 0);
        if (moved) keep("direction", next, 1e-7);
    }

    // The published splitting's steps, two rounds with a change of penalty between.
    template <class T> void paper(const Shape& s, bool cone) {
        name("paper", s.n * 1000 + s.d, s.p * 100 + s.c * 10 + cone + 2 * index_t{sizeof(T)});
        const Samples k(s);
        ProgramShape shape;
        shape.n = s.n, shape.d = s.d, shape.n_gates = s.p, shape.c = s.c;
        shape.cone = cone, shape.signs = cone ? 2 : 1;
        Program program(
            shape, k.x.data(), k.gates.data(),
            Loss(LossKind::squared, s.n, s.c, random_numbers(s.c * s.n, 26), {}, 1, 1, q_), 1);
        PaperSteps<T> steps(program);
        const double rounding = sizeof(T) == 8 ? 1e-11 : 1e-3;
        const Array<T> z(q_, s.c * s.n);
        const auto e = on_device(q_, random_numbers<T>(s.c * s.p * s.d, 27));
        steps.factor(1.5, 0.4);
        for (unsigned round = 0; round < 3; ++round) {
            const auto ut = on_device(q_, random_numbers<T>(shape.size(), 28 + round));
            program.steps.copy(shape.size(), ut.data(), steps.ut.data());
            const auto sums = steps.advance(0.3);
            keep("sums", Numbers{sums.off_v, sums.size_v, sums.moved, sums.size_l}, rounding);
            keep("cone sums", Numbers{sums.off_s, sums.size_s}, rounding);
            keep("v", steps.v, rounding), keep("lambda", steps.lambda, rounding);
            if (cone && round == 1) {
                const auto squares = steps.cone_squares();
                keep("squares", Numbers{squares.s, squares.nu}, rounding);
                steps.rescale_cones(2.5);
                steps.factor(1.5, 1.0);
            }
            steps.right_hand_side(1.5, 0.4), keep("a", steps.a, rounding);
            steps.design().forward(e.data(), z.data()), keep("design", z, rounding);
        }
        const Array<double> predicted(q_, s.c * s.n);
        steps.relu_predict(steps.v.data(), predicted.data()), keep("relu", predicted, rounding);
    }

    void all() {
        for (const index_t n : {1, 31, 33, 700}) steps<double>(n), steps<float>(n);
        blocks(1, 1), blocks(33, 3), blocks(270, 2);
        for (const index_t n : {1, 31, 33, 300}) rows<double>(3, n), rows<float>(2, n);
        signatures();
        for (const Shape& s : {Shape{1, 1, 1, 1}, {33, 1, 5, 2}, {31, 3, 9, 1}, {70, 5, 12, 2}})
            design<double>(s), design<float>(s), iterative<double>(s), iterative<float>(s);
        iterative<double>({20, 40, 3, 1});
        for (const index_t n : {1, 33, 270}) losses<double>(n, 1);
        losses<double>(31, 3), losses<float>(31, 3);
        cones({1, 3, 2, 1}, 2), cones({40, 4, 5, 1}, 4), cones({300, 10, 3, 1}, 3);
        cones({80, 70, 1, 1}, 2), cones({4, 6, 8, 1}, 3, true);
        for (const index_t n : {1, 31, 33, 270}) robust(n, 3);
        robust(5, 1);
        robust_cones({1, 3, 2, 1}, 1), robust_cones({40, 4, 5, 1}, 1);
        robust_cones({300, 10, 3, 1}, 0.3), robust_cones({80, 70, 1, 1}, 0.3);
        robust_program({30, 3, 4, 1}, LossKind::squared);
        robust_program({33, 4, 5, 1}, LossKind::hinge);
        program({30, 3, 4, 1}, true, false), program({40, 4, 5, 2}, true, false);
        for (const Shape& s : {Shape{1, 1, 1, 1}, {33, 3, 4, 2}, {20, 40, 3, 1}}) {
            paper<double>(s, true), paper<float>(s, true);
            paper<double>(s, false);
        }
        program({33, 2, 6, 2}, false, false), program({40, 6, 1, 1}, false, true);
    }

    void more_items_than_threads() {
        const index_t n = 270000;
        name("many", n, 0);
        AdmmSteps s(q_, 2);
        const auto a = on_device(q_, random_numbers(n, 23)),
                   b = on_device(q_, random_numbers(n, 24));
        const Array<double> out(q_, n);
        s.subtract(n, a.data(), b.data(), out.data()), keep("subtract", out, 0);
        keep("dot", Numbers{s.dot(n, a.data(), a.data())}, 1e-12);
        keep("largest", Numbers{s.largest(n, a.data())}, 0);
        Numbers with_a(1), with_b(1);
        s.inners(1, a.data(), n, index_t{0}, a.data(), b.data(), 1, 1, with_a.data(),
                 with_b.data());
        keep("inners", with_a, 1e-12);
        robust(263000, 1, {LossKind::hinge});
        rows<double>(1100, 260), rows<float>(1, 4000);
        const index_t samples = 33000;
        const auto x = on_device(q_, random_numbers(2 * samples, 25)),
                   gates = on_device(q_, Numbers(std::size_t(9 * samples), 1.0));
        Design<double> f(samples, 2, 9, 1, x.data(), gates.data(), 2, q_);
        const Array<double> z(q_, samples);
        f.forward(a.data(), z.data()), keep("forward", z, 1e-12);
        design<double>({7100, 2, 300, 1}, 1e-8); // the rows of F in two pieces
        paper<double>({150, 2, 950, 1}, true);
        const Samples k({3, 2, 2100, 1});
        const auto small = on_device(q_, k.x), sides = on_device(q_, k.gates);
        ConeProjector projector(3, 2, 2100, small.data(), sides.data(), 2, {}, q_);
        ActiveSets sets(4200);
        const Array<double> v(q_, 8400), norm(q_, 4200);
        projector.project(4200, a.data(), 0.0, sets, v.data(), norm.data());
        keep("v", v, 1e-10), keep("norm", norm, 1e-10);
        keep("violation", Numbers{projector.worst_violation(4200, a.data())}, 1e-12);
    }

  private:
    void name(const std::string& group, index_t a, index_t b) {
        group_ = group + " " + std::to_string(a) + " " + std::to_string(b);
    }
    void keep(const char* what, const Numbers& numbers, double tolerance) {
        sink_(group_ + ": " + what, numbers, tolerance);
    }
    template <class T> void keep(const char* what, const Array<T>& numbers, double tolerance) {
        keep(what, on_host(numbers), tolerance);
    }

    Sink& sink_;
    std::shared_ptr<Queue> q_;
    std::string group_;
};

} // namespace admm_cases
