// The bytes that each kernel of admm_relu reads and writes, counted, are those that the comment
// above it states; of those of the cones, where rows change, they lie between two that it states.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "admm_cases.hpp"
#include "admm_relu/robust.hpp"
#include "kernel_traffic.hpp"

using namespace fastopt;
using admm_cases::on_device;
using admm_cases::random_numbers;
using bytes::Count;
using bytes::Kernel;
using bytes::Kernels;
using bytes::Names;
using bytes::reduced;
using bytes::operator+=;

namespace {

using Queues = std::shared_ptr<Queue>;

bytes::KernelTraffic& traffic() {
    static bytes::KernelTraffic t({"admm_relu/admm_functors.inl", "admm_relu/paper_functors.inl",
                                   "admm_relu/admm_cuda.cuh", "admm_relu/design_cuda.cuh",
                                   "admm_relu/loss_cuda.cuh", "admm_relu/cone_cuda.cuh",
                                   "admm_relu/paper_cuda.cuh", "admm_relu/robust_functors.inl"},
                                  {"admm_relu/robust_cuda.cuh"});
    return t;
}

template <class Work> void expect(const Queues& q, const Kernels& kernels, Work work) {
    const Count count(q);
    work();
    count.finish();
    traffic().expect(kernels);
}

index_t blocks(index_t items) { return std::min<index_t>((items + 255) / 256, 256); }

// The parts of a reduction of so many items, folded where there is more than one.
Kernels sum(const std::string& name, const Names& names, index_t items, index_t part = 8) {
    Kernels list{reduced(name, names, part, blocks(items))};
    if (blocks(items) > 1) list.push_back({"fold_parts", list[0].names});
    return list;
}

template <class T> Names sizes(const admm_cases::Shape& s) {
    return {{"T", static_cast<index_t>(sizeof(T))}, {"n", s.n}, {"d", s.d}, {"P", s.p}, {"c", s.c}};
}
const admm_cases::Shape shapes[] = {{33, 3, 4, 2}, {300, 5, 2, 1}, {7, 2, 9, 3}};

// What X, gates and a program on them have.
template <class T> struct Data {
    explicit Data(const admm_cases::Shape& s)
        : samples(s), x(on_device(q, std::vector<T>(samples.x.begin(), samples.x.end()))),
          gates(on_device(q, std::vector<T>(samples.gates.begin(), samples.gates.end()))) {}
    Queues q = make_queue();
    admm_cases::Samples samples;
    Array<T> x, gates;
};

ProgramShape program_shape(const admm_cases::Shape& s, bool cone, bool single_columns = false) {
    ProgramShape shape;
    shape.n = s.n, shape.d = s.d, shape.n_gates = single_columns ? 1 : s.p, shape.c = s.c;
    shape.cone = cone, shape.signs = cone ? 2 : 1, shape.single_columns = single_columns;
    return shape;
}

} // namespace

TEST_CASE_TEMPLATE("bytes of steps number by number", T, double, float) {
    for (const index_t n : {1, 33, 700}) {
        const Queues q = make_queue();
        AdmmSteps s(q, 1);
        const auto a = on_device(q, random_numbers(2 * n, 3)),
                   b = on_device(q, random_numbers(n, 4));
        const auto r = on_device(q, random_numbers<T>(2 * n, 5)),
                   u = on_device(q, random_numbers<T>(2 * n, 6));
        const auto rows = on_device(q, random_numbers<T>(5 * n, 7));
        const Array<T> out(q, 2 * n), last(q, n);
        const Array<double> wide(q, n);
        const T *pr = r.data(), *pu = u.data();
        const double *pa = a.data(), *pb = b.data();
        Names names{{"T", static_cast<index_t>(sizeof(T))}, {"count", n}, {"n", n}};
        names["from"] = names["T"], names["to"] = 8;
        const auto one = [&](const std::string& name, auto work) {
            expect(q, {{name, names}}, work);
        };
        one("Convert", [&] { s.convert(n, pr, wide.data()); });
        one("Subtract", [&] { s.subtract(n, pr, pu, out.data()); });
        one("Add", [&] { s.add(n, pr, pu, out.data()); });
        one("Scale", [&] { s.scale(n, -0.3, pa, wide.data()); });
        one("ScaledDifference", [&] { s.scaled_difference(n, 0.7, pa, pb, wide.data()); });
        one("Reflect", [&] { s.reflect(n, pa, pb, out.data()); });
        one("Relax", [&] { s.relax(n, 1.9, pr, pu, pa, out.data()); });
        one("GradientStep", [&] { s.gradient_step(n, 1.3, pa, wide.data()); });
        one("AddMultiplier", [&] { s.add_multiplier(n, 1.3, pa, pb, out.data()); });
        one("Between", [&] { s.between(n, 0.25, pa, pb, wide.data()); });
        one("Rescale", [&] { s.rescale(n, 1.7, pa, pr, out.data()); });
        one("AddScaled", [&] { s.add_scaled(n, 0.6, pr, out.data()); });
        one("ScaleAndAdd", [&] { s.scale_and_add(n, 0.6, pr, out.data()); });
        one("Transpose", [&] { s.transpose(n, 1, 1, pr, out.data()); });
        for (const int signs : {1, 2}) {
            names["two"] = signs - 1;
            one("StepHalves", [&] { s.step_halves(n, signs, 0.4, pr, pu, out.data()); });
            one("JoinHalves", [&] { s.join_halves(n, signs, pr, pu, out.data()); });
        }
        one("NextDifferences",
            [&] { s.next_differences(n, pr, last.data(), out.data(), out.data() + n, u.data()); });
        names["from"] = 8, names["to"] = 4;
        one("Convert", [&] { s.convert(n, pa, reinterpret_cast<float*>(out.data())); });

        double with_a[5], with_b[5];
        s.inners(5, rows.data(), n, index_t{0}, pr, pu, 0.3, 0.8, with_a, with_b); // makes room
        expect(q, sum("Product", names, n), [&] { s.dot(n, pa, pb); });
        expect(q, sum("WeightedProduct", names, n),
               [&] { s.inner(n, index_t{0}, pr, pu, 0.3, 0.8); });
        expect(q, sum("SquaredDistances", names, n, 32),
               [&] { s.distances(n, pa, pb, pa + n, pr); });
        expect(q, sum("Value", names, n), [&] { s.largest(n, pa); });
        names["count"] = 5, names["parts"] = std::min<index_t>(blocks(n), 16);
        expect(q, {{"row_products", names}, {"FoldPieces", names}},
               [&] { s.inners(5, rows.data(), n, index_t{0}, pr, pu, 0.3, 0.8, with_a, with_b); });
        one("SubtractRows", [&] { s.subtract_rows(5, with_a, rows.data(), n, r.data()); });
    }
}

TEST_CASE("bytes of blocks and of their hashes") {
    for (const index_t w : {1, 3}) {
        const index_t count = 270;
        const Queues q = make_queue();
        AdmmSteps s(q, 1);
        const auto v = on_device(q, random_numbers(count * w, 8));
        const Array<double> norm(q, count), to(q, count * w);
        s.sum_of_norms(count, w, v.data()); // makes room
        Names names{{"B", count}, {"w", w}, {"longer", 0}, {"active", 0}};
        expect(q, {{"SetBlockLength", names}},
               [&] { s.block_norms(count, w, v.data(), norm.data()); });
        expect(q, sum("BlockLength", names, count), [&] { s.sum_of_norms(count, w, v.data()); });
        expect(q, {{"Shrink", names}},
               [&] { s.shrink(count, w, 0.8, norm.data(), v.data(), to.data()); });
        expect(q, sum("BlockHash", names, count),
               [&] { s.signature(count, norm.data(), 0.1, ActiveSets(0)); });
    }
}

TEST_CASE_TEMPLATE("bytes of the design and its systems", T, double, float) {
    for (const admm_cases::Shape& s : shapes)
        for (const bool one_column : {false, true}) {
            const admm_cases::Shape shape{s.n, one_column ? 1 : s.d, s.p, s.c};
            const Data<T> data(shape);
            const Names names = sizes<T>(shape);
            Design<T> f(s.n, shape.d, s.p, s.c, data.x.data(), data.gates.data(), 1, data.q);
            const auto e = on_device(data.q, random_numbers<T>(f.half(), 11)),
                       t = on_device(data.q, random_numbers<T>(s.c * s.n, 12));
            const Array<T> z(data.q, s.c * s.n), g(data.q, f.half());
            const std::string column = "TimesColumn";
            expect(data.q, {{one_column ? column : "gated_sum", names}},
                   [&] { f.forward(e.data(), z.data()); });
            expect(data.q, {{one_column ? column : "Gated", names}},
                   [&] { f.adjoint(t.data(), g.data()); });
            for (const bool of_rows : {true, false}) {
                const index_t order = of_rows ? s.n : s.p * shape.d;
                Names with_order = names;
                with_order["count"] = order * order, with_order["s"] = order;
                with_order["below"] = order * (order - 1) / 2;
                GramSystem<T> system;
                expect(data.q, {{of_rows ? "Times" : "GatedColumns", with_order}},
                       [&] { system = GramSystem<T>(f, of_rows); });
                expect(data.q, {{"ShiftedGram", with_order}, {"MirrorLower", with_order}},
                       [&] { system.factorise(0.7); });
            }
        }
}

TEST_CASE_TEMPLATE("bytes of conjugate gradients", T, double, float) {
    for (const admm_cases::Shape& s : shapes) {
        const Data<T> data(s);
        Design<T> f(s.n, s.d, s.p, s.c, data.x.data(), data.gates.data(), 1, data.q);
        AdmmSteps& steps = f.steps();
        const index_t n = s.p * s.d;
        Names names = sizes<T>(s);
        names["rows"] = names["count"] = s.c;
        const auto on = [&](unsigned seed) {
            return on_device(data.q, random_numbers<T>(f.half(), seed));
        };
        const Array<T> x = on(31), r = on(32), q = on(33), g = on(34);
        const std::vector<double> lengths(static_cast<std::size_t>(s.c), 0.5);
        const auto rho = on_device(data.q, lengths), next = on_device(data.q, lengths);
        const Array<double> dots(data.q, s.c);
        GateBlocks<T> blocks(f);
        blocks.factorise(0.7);
        expect(data.q, {{"GateProducts", names}}, [&] { blocks.solve(r.data(), x.data()); });
        names["n"] = n;
        expect(data.q, {{"row_dots", names}},
               [&] { steps.row_dots(s.c, n, x.data(), r.data(), dots.data()); });
        expect(data.q, {{"AdvanceRows", names}}, [&] {
            steps.advance_rows(s.c, n, rho.data(), next.data(), q.data(), g.data(), x.data(),
                               r.data());
        });
        expect(data.q, {{"TurnRows", names}},
               [&] { steps.turn_rows(s.c, n, rho.data(), next.data(), r.data(), q.data()); });
    }
}

TEST_CASE("bytes of a loss against an adversary") {
    for (const index_t n : {33, 300})
        for (const bool weighted : {false, true}) {
            const index_t d = 3;
            const Queues q = make_queue();
            std::vector<double> weights = random_numbers(n, 41);
            for (double& w : weights) w = 0.5 + std::fabs(w);
            const Loss loss(LossKind::squared, n, 1, random_numbers(n, 42),
                            weighted ? weights : std::vector<double>(), 1, 1, q);
            const auto x = on_device(q, random_numbers(n * d, 43)),
                       at = on_device(q, random_numbers(n * d, 44));
            const RobustLoss robust(loss, n, d, x.data(), std::vector<double>(3, 0.1), 1);
            const Array<double> t(q, (d + 2) * n), moved(q, n * d);
            Names names{{"T", 8}, {"n", n}, {"d", d}, {"c", 1}, {"soft", 0}, {"counting", n}};
            names["weighted"] = weighted, names["count"] = n;
            robust.value(at.data()); // makes room
            Kernels value{{"WorstPrediction", names}};
            value += sum("LossValue", names, n);
            expect(q, value, [&] { robust.value(at.data()); });
            expect(q, {{"WorstPrediction", names}, {"LossGradient", names}, {"DualSlopes", names}},
                   [&] { robust.gradient(at.data(), t.data()); });
            Kernels conjugate = sum("LossConjugate", names, n);
            conjugate.push_back({"DualExcess", names});
            conjugate += sum("Value", names, n);
            expect(q, conjugate, [&] { robust.conjugate(t.data()); });
            expect(q, {{"RobustProx", names, "robust_prox"}},
                   [&] { robust.prox(at.data(), 0.6, moved.data(), t.data()); });
        }
}

TEST_CASE_TEMPLATE("bytes of the losses", T, double, float) {
    for (const index_t n : {33, 300})
        for (const index_t c : {1, 3})
            for (int number = 0; number < 7; ++number)
                for (const bool weighted : {false, true}) {
                    const auto kind = static_cast<LossKind>(number);
                    const bool soft = kind == LossKind::softmax;
                    if (soft && c == 1) continue; // the same for all z
                    const Queues q = make_queue();
                    std::vector<double> y = random_numbers(c * n, 15),
                                        weights = random_numbers(n, 14);
                    for (index_t i = 0; i < c * n; ++i) {
                        double& target = y[static_cast<std::size_t>(i)];
                        target = soft ? i / n == i % n % c : target > 0 ? 1 : -1;
                    }
                    for (double& w : weights) w = w > -1 ? std::fabs(w) : 0;
                    const Loss loss(kind, n, c, y, weighted ? weights : std::vector<double>(), 0.4,
                                    1, q);
                    Names names{{"T", static_cast<index_t>(sizeof(T))}, {"n", n}, {"c", c}};
                    names["weighted"] = weighted, names["soft"] = soft;
                    names["counting"] = weighted ? std::count_if(weights.begin(), weights.end(),
                                                                 [](double w) { return w > 0; })
                                                 : n;
                    const auto z = on_device(q, random_numbers(c * n, 16));
                    const auto r = on_device(q, random_numbers<T>(c * n, 17));
                    const Array<double> t(q, c * n), h(q, c * n), zero(q, c * n);
                    const Array<T> moved(q, c * n);
                    loss.value(z.data()); // makes room
                    INFO("loss ", number, ", n ", n, ", c ", c, ", weighted ", weighted);
                    expect(q, sum("LossValue", names, n), [&] { loss.value(z.data()); });
                    expect(q, {{"LossGradient", names}},
                           [&] { loss.gradient(z.data(), t.data()); });
                    expect(q, sum("LossConjugate", names, n), [&] { loss.conjugate(zero.data()); });
                    expect(q, {{"LossProx", names}},
                           [&] { loss.prox(r.data(), 0.6, moved.data()); });
                    if (loss.curved())
                        expect(q, {{"LossCurvature", names}},
                               [&] { loss.curvature(z.data(), h.data()); });
                }
}

namespace {

Names active_rows(const ActiveSets& sets, index_t count) {
    Names names{{"A", 0}, {"Q", 0}, {"B", count}};
    for (const index_t size : sets.sizes()) names["A"] += size, names["Q"] += size * size;
    return names;
}

} // namespace

TEST_CASE("bytes of the cones") {
    for (const admm_cases::Shape& s :
         {admm_cases::Shape{40, 4, 5, 1}, {300, 10, 3, 1}, {80, 70, 1, 1}}) {
        const Data<double> data(s);
        const index_t count = 2 * s.p, most = std::max<index_t>(2 * s.d, 24);
        std::unique_ptr<ConeProjector> cones;
        Names names = sizes<double>(s);
        INFO("n ", s.n, ", d ", s.d);
        expect(data.q, {{"UnitColumns", names}}, [&] {
            cones = std::make_unique<ConeProjector>(s.n, s.d, s.p, data.x.data(), data.gates.data(),
                                                    1, std::vector<double>(), data.q);
        });
        const auto r = on_device(data.q, random_numbers(count * s.d, 18));
        const Array<double> v(data.q, count * s.d), norm(data.q, count);
        ActiveSets sets(count);
        const auto project = [&](bool settled) {
            Names before = active_rows(sets, count);
            before.insert(names.begin(), names.end());
            before["left"] = count, before["most"] = most, before["G"] = s.p;
            before["zeroed"] = settled ? std::count(norm.fetch(), norm.mirror() + count, 0.0) : 0;
            traffic().exactly = settled;
            expect(data.q, {{"warm_cones", before}, {"refine_cones", before}},
                   [&] { cones->project(count, r.data(), 0.0, sets, v.data(), norm.data()); });
            traffic().exactly = false;
        };
        project(false);
        REQUIRE(active_rows(sets, count)["A"] > 0);
        project(true); // no row comes or goes
        AdmmSteps& steps = cones->steps();
        cones->worst_violation(count, v.data()); // makes room
        names["B"] = count, names["G"] = s.p, names["count"] = count;
        Kernels violations{{"cone_violations", names}};
        violations += sum("Value", names, count);
        expect(data.q, violations, [&] { cones->worst_violation(count, v.data()); });

        const double* length = norm.fetch();
        const double level = length[0];
        const std::vector<index_t> active = sets.sizes();
        names["longer"] = names["active"] = 0;
        for (std::size_t b = 0; b < active.size(); ++b)
            if (length[b] > level) ++names["longer"], names["active"] += active[b];
        expect(data.q, sum("BlockHash", names, count),
               [&] { steps.signature(count, norm.data(), level, sets); });
    }
}

namespace {

// A program's Newton step, with the numbers of its faces.
void check_newton(const admm_cases::Shape& s, bool cone, bool single_columns) {
    admm_cases::Samples k(s);
    if (single_columns) k.gates.assign(static_cast<std::size_t>(s.n), 1.0);
    const ProgramShape shape = program_shape(s, cone, single_columns);
    const Queues q = make_queue();
    Program program(shape, k.x.data(), k.gates.data(),
                    Loss(LossKind::logistic, s.n, s.c, random_numbers(s.c * s.n, 20), {}, 1, 1, q),
                    1);
    const auto r = on_device(q, random_numbers(shape.size(), 22));
    const Array<double> v(q, shape.size()), z(q, s.c * s.n), norm(q, shape.blocks()),
        next(q, shape.size());
    ActiveSets sets(cone ? shape.blocks() : 0);
    if (cone)
        program.cones().project(shape.blocks(), r.data(), 0.5, sets, v.data(), norm.data());
    else
        program.steps.copy(shape.size(), r.data(), v.data());
    program.predict(v.data(), z.data());
    program.steps.block_norms(shape.blocks(), shape.width(), v.data(), norm.data());

    const index_t w = shape.width(), per_output = shape.half() / (w * s.c);
    const double* length = norm.fetch();
    const std::vector<index_t> rows = sets.sizes();
    Names names{{"n", s.n}, {"d", s.d}, {"c", s.c}, {"w", w}, {"B", shape.blocks()}};
    names["weighted"] = names["soft"] = 0, names["gated"] = !single_columns;
    Kernels kernels{{"LossCurvature", names}, {"LossGradient", names}, {"SetBlockLength", names}};
    for (index_t k_out = 0; k_out < s.c; ++k_out) {
        std::set<index_t> gates;
        names["m"] = names["active"] = names["pairs"] = 0;
        for (index_t b = 0; b < shape.blocks(); ++b) {
            const index_t columns = w - (cone ? rows[static_cast<std::size_t>(b)] : 0);
            if (b / per_output % s.c != k_out || !(length[b] > 0) || columns == 0) continue;
            names["m"] += columns, ++names["active"];
            names["pairs"] += columns * (columns + 1) / 2, gates.insert(b % per_output);
        }
        REQUIRE(names["m"] > 0);
        names["G"] = static_cast<index_t>(gates.size());
        kernels.push_back({cone ? "face_bases" : "UnitBases", names});
        kernels.push_back({"FaceCoordinates", names});
        if (single_columns) kernels.push_back({"SingleColumns", names});
        kernels += {{"GateFace", names}, {"RootFace", names}};
        kernels += sum("Diagonal", names, names["m"]);
        kernels += {{"AddNorms", names}, {"MoveBlocks", names}};
    }
    INFO("cone ", cone, ", single columns ", single_columns);
    program.loss.value(z.data());
    expect(q, kernels,
           [&] { CHECK(newton_direction(program, 0.3, v.data(), z.data(), sets, next.data())); });
}

} // namespace

TEST_CASE("bytes of Newton's step") {
    check_newton({40, 4, 5, 2}, true, false);
    check_newton({33, 2, 6, 2}, false, false);
    check_newton({40, 6, 1, 1}, false, true);
}

TEST_CASE_TEMPLATE("bytes of the published splitting", T, double, float) {
    for (const admm_cases::Shape& s : shapes) {
        const admm_cases::Samples k(s);
        const ProgramShape shape = program_shape(s, true);
        const Queues q = make_queue();
        Program program(
            shape, k.x.data(), k.gates.data(),
            Loss(LossKind::squared, s.n, s.c, random_numbers(s.c * s.n, 26), {}, 1, 1, q), 1);
        PaperSteps<T> steps(program);
        const auto ut = on_device(q, random_numbers<T>(shape.size(), 28));
        program.steps.copy(shape.size(), ut.data(), steps.ut.data());
        Names names = sizes<T>(s);
        const index_t items = shape.blocks() * s.n;
        names["B"] = shape.blocks();
        expect(q, {{"AddToDiagonal", names}, {"Identity", names}}, [&] { steps.factor(1.5, 0.4); });
        steps.advance(0.3); // makes room
        names["parts"] = blocks(shape.blocks() * 32), names["count"] = items;
        Kernels kernels{{"paper_shrink", names}};
        if (names["parts"] > 1)
            kernels.push_back({"fold_parts", reduced("", names, 32, names["parts"]).names});
        kernels += sum("PaperConeTerms", names, items, 32);
        expect(q, kernels, [&] { steps.advance(0.3); });
        expect(q, sum("PaperSquares", names, items, 32), [&] { steps.cone_squares(); });
        expect(q, {{"PaperRescaleEach", names}}, [&] { steps.rescale_cones(2.5); });
        names["count"] = shape.size();
        expect(q, {{"PaperRightHandSide", names}}, [&] { steps.right_hand_side(1.5, 0.4); });
        const Array<double> z(q, s.c * s.n);
        expect(q, {{"ReluSum", names}}, [&] { steps.relu_predict(steps.v.data(), z.data()); });
    }
}

TEST_CASE("every kernel was counted") { traffic().every_kernel_was_counted(); }
