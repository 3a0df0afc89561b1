// The bytes that cbo's kernels read and write, counted, are those that the comment above each
// kernel states, and those of an iteration are the ones in docs/cuda.md.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/queue.hpp"
#include "cbo/cbo.hpp"
#include "cbo/cbo_steps.hpp"
#include "cbo/native_objective.hpp"
#include "cuda_emu.hpp"
#include "kernel_traffic.hpp"

using namespace fastopt;
using bytes::Names;

namespace {

bytes::KernelTraffic& traffic() {
    static bytes::KernelTraffic t({"cbo/cbo_cuda.cuh"});
    return t;
}
void expect(const std::vector<std::string>& kernels, const Names& names) {
    traffic().expect(kernels, names);
}

template <class T> Array<T> ramp(const std::shared_ptr<Queue>& q, index_t n, double from = 1) {
    const Array<T> a(q, n);
    for (index_t i = 0; i < n; ++i) a.mirror()[i] = static_cast<T>(from + static_cast<double>(i));
    a.send();
    return a;
}

struct Shape {
    index_t n, d;
};
const Shape shapes[] = {{5, 3}, {300, 7}, {9, 130}};

template <class T> Names sizes(index_t n, index_t d) {
    return {{"T", static_cast<index_t>(sizeof(T))}, {"n", n}, {"d", d}};
}

} // namespace

TEST_CASE_TEMPLATE("bytes of moving", T, double, float) {
    for (const Shape s : shapes)
        for (int choice = 0; choice < 32; ++choice) {
            const bool isotropic = choice & 1, memory = choice & 2, gradient = choice & 4;
            const bool batch = choice & 8, own_center = choice & 16;
            const auto q = make_queue();
            const index_t count = batch ? (s.n + 1) / 2 : s.n;
            const auto x = ramp<T>(q, s.n * s.d), y = ramp<T>(q, s.n * s.d);
            const auto g = ramp<T>(q, s.n * s.d), center = ramp<T>(q, s.n * s.d);
            const auto lower = ramp<T>(q, s.d, -1e6), upper = ramp<T>(q, s.d, 1e6);
            const auto step = ramp<T>(q, s.d);
            const auto rows = ramp<index_t>(q, count, 0);
            Move<T> m;
            m.d = s.d, m.center_stride = own_center ? s.d : 0;
            m.x = x.data(), m.center = center.data();
            m.lower = lower.data(), m.upper = upper.data();
            if (memory) m.best = y.data();
            if (gradient) m.gradient = g.data();
            if (batch) m.rows = rows.data();
            m.isotropic = isotropic, m.draw = {{1, 2}, 3, 4};
            m.drift = T(0.1), m.diffusion = T(0.7), m.truncation = T(1.5);
            Names names = sizes<T>(count, s.d);
            names["c"] = own_center ? count * s.d : s.d;
            names["rows"] = batch, names["memory"] = memory, names["gradient"] = gradient;
            names["isotropic"] = isotropic;
            CboSteps<T> steps(q, s.n, s.d, 1);
            INFO("n ", s.n, ", d ", s.d, ", choice ", choice);
            steps.move(m, count);
            x.fetch(); // waits
            isotropic ? expect({"row_scales", "move"}, names) : expect({"move"}, names);
            steps.hop(m, step.data(), count);
            x.fetch();
            expect({"hop"}, names);
        }
}

TEST_CASE_TEMPLATE("bytes of correlated noise", T, double, float) {
    for (const Shape s : shapes) {
        const auto q = make_queue();
        const auto x = ramp<T>(q, s.n * s.d), c = ramp<T>(q, s.d), factor = ramp<T>(q, s.d * s.d);
        const auto lower = ramp<T>(q, s.d, -1e6), upper = ramp<T>(q, s.d, 1e6);
        const auto w = ramp<double>(q, s.n);
        Move<T> m;
        m.d = s.d, m.draw = {{1, 2}, 3, 4};
        m.x = x.data(), m.center = c.data(), m.lower = lower.data(), m.upper = upper.data();
        Names names = sizes<T>(s.n, s.d);
        names["c"] = s.d, names["rows"] = 0, names["count"] = s.n * s.d;
        CboSteps<T> steps(q, s.n, s.d, 1);
        steps.correlated_move(m, factor.data(), s.n);
        x.fetch();
        expect({"normals", "move_along"}, names); // gemm between them
        steps.covariance(w.data(), x.data(), c.data(), s.n, factor.data());
        x.fetch();
        expect({"weighted_deviation"}, names); // then syrk
    }
}

TEST_CASE_TEMPLATE("bytes of rows and values", T, double, float) {
    for (const Shape s : shapes)
        for (const bool batch : {false, true})
            for (const bool constrained : {false, true}) {
                const auto q = make_queue();
                const index_t count = batch ? (s.n + 1) / 2 : s.n;
                const auto rows = ramp<index_t>(q, count, 0);
                const index_t* chosen = batch ? rows.data() : nullptr;
                const auto x = ramp<T>(q, s.n * s.d), y = ramp<T>(q, s.n * s.d);
                const auto lower = ramp<T>(q, s.d, -1e6), upper = ramp<T>(q, s.d, 1e6);
                const Array<char> integer(q, s.d);
                index_t integers = 0;
                for (index_t k = 0; k < s.d; ++k)
                    integers += integer.mirror()[k] = static_cast<char>(k % 3 == 0);
                integer.send();
                const auto f = ramp<double>(q, s.n), v = ramp<double>(q, s.n);
                const Array<double> e(q, s.n), y_f(q, s.n), y_v(q, s.n);
                Names names = sizes<T>(count, s.d);
                names["rows"] = batch, names["constrained"] = constrained;
                names["integer"] = constrained, names["integers"] = constrained ? integers : 0;
                names["blocks"] = (count + 255) / 256;
                CboSteps<T> steps(q, s.n, s.d, 1);
                steps.gather(x.data(), chosen, count, constrained ? integer.data() : nullptr,
                             lower.data(), upper.data(), y.data());
                y.fetch();
                expect({"gather"}, names);
                steps.tidy(f.data(), constrained ? v.data() : nullptr, count);
                expect({"tidy", "best_of"}, names);
                steps.energies(f.data(), constrained ? v.data() : nullptr, chosen, count, 1.0,
                               e.data());
                e.fetch();
                expect({"energies"}, names);
                steps.scatter(f.data(), rows.data(), count, e.data());
                e.fetch();
                expect({"scatter"}, names);
                index_t better = 0; // every other row
                for (index_t i = 0; i < s.n; ++i) {
                    y_f.mirror()[i] = i % 2 ? 1e9 : -1e9;
                    better += i < count && i % 2;
                }
                names["better"] = better;
                y_f.send();
                steps.remember(x.data(), f.data(), constrained ? v.data() : nullptr, chosen, count,
                               1.0, y.data(), y_f.data(), y_v.data());
                y.fetch();
                expect({"remember"}, names);
            }
}

TEST_CASE_TEMPLATE("bytes of weights and the consensus", T, double, float) {
    for (const Shape s :
         {Shape{5, 3}, Shape{300, 7}, Shape{200, 300}}) // one block of rows, or more
        for (const bool batch : {false, true}) {
            const auto q = make_queue();
            const index_t count = batch ? (s.n + 1) / 2 : s.n;
            const auto rows = ramp<index_t>(q, count, 0);
            const auto x = ramp<T>(q, s.n * s.d);
            const auto e = ramp<double>(q, s.n);
            const Array<double> w(q, s.n);
            std::vector<double> mean(static_cast<std::size_t>(s.d));
            Names names = sizes<T>(count, s.d);
            names["rows"] = batch;
            const index_t block_rows = std::max<index_t>(64, 16384 / s.d);
            names["blocks"] = (count + block_rows - 1) / block_rows;
            CboSteps<T> steps(q, s.n, s.d, 1);
            steps.spread(e.data(), count);
            expect({"spread"}, names);
            steps.choose_alpha(e.data(), count, 1.0, 1.0, 0.5 * static_cast<double>(count));
            expect({"choose_alpha"}, names);
            steps.gibbs(e.data(), count, 1e-3, 1.0, w.data());
            w.fetch();
            expect({"gibbs"}, names);
            steps.weighted_mean(x.data(), batch ? rows.data() : nullptr, count, w.data(),
                                Shares(nullptr), mean.data());
            expect({"weighted_sums", "divide_sums"}, names);
        }
}

TEST_CASE_TEMPLATE("bytes of polarised dynamics", T, double, float) {
    for (const Shape s : {Shape{5, 3}, Shape{150, 7}}) {
        const auto q = make_queue();
        const auto x = ramp<T>(q, s.n * s.d), width = ramp<T>(q, s.d, 1e-6);
        const auto e = ramp<double>(q, s.n);
        const Array<T> centers(q, s.n * s.d);
        const index_t m = 4;
        const Array<double> p(q, s.n * m);
        Names names = sizes<T>(s.n, s.d);
        names["m"] = m, names["blocks"] = std::min<index_t>(s.n, 128);
        CboSteps<T> steps(q, s.n, s.d, 1);
        steps.polarize(x.data(), e.data(), s.n, 1e-3, 1.0, width.data(), centers.data());
        centers.fetch();
        expect({"polarize"}, names);
        const auto some = ramp<T>(q, m * s.d);
        steps.responsibility(x.data(), some.data(), s.n, m, width.data(), p.data());
        p.fetch();
        expect({"responsibility"}, names);
    }
}

TEST_CASE_TEMPLATE("bytes of native objectives", T, double, float) {
    for (const Shape s : shapes)
        for (int choice = 0; choice < 4; ++choice) {
            const bool shifted = choice & 1, rotated = choice & 2;
            const auto q = make_queue();
            const auto x = ramp<T>(q, s.n * s.d), shift = ramp<T>(q, s.d);
            const auto rotation = ramp<T>(q, s.d * s.d);
            const Array<T> scratch(q, s.n * s.d);
            const Array<double> f(q, s.n);
            Names names = sizes<T>(s.n, s.d);
            names["shifted"] = shifted, names["rotated"] = rotated;
            for (int id = 0; id < static_cast<int>(ObjectiveId::canyon); ++id) {
                evaluate_resident(*q, static_cast<ObjectiveId>(id), x.data(), s.n, s.d,
                                  shifted ? shift.data() : nullptr,
                                  rotated ? rotation.data() : nullptr, scratch.data(), f.data());
                f.fetch();
                INFO("objective ", id);
                choice ? expect({"transform", "evaluate"}, names) : expect({"evaluate"}, names);
            }
        }
}

namespace {

struct Total {
    bytes::Moved moved;
    index_t waits = 0;
    double fun = 0;
};

template <class T> Total run(CboOptions o, index_t d, index_t maxiter) {
    NativeObjective<T> objective(ObjectiveId::rastrigin, d, {}, {}, 1);
    Monitor quiet;
    CboProblem<T> p;
    p.objective = &objective, p.monitor = &quiet;
    p.lower.assign(static_cast<std::size_t>(d), -5.0);
    p.upper.assign(static_cast<std::size_t>(d), 5.0);
    o.maxiter = maxiter;
    cuda_emu_traffic();
    const long waits = cuda_emu_waits();
    Total t;
    t.fun = solve_cbo(p, o, nullptr).fun;
    t.waits = cuda_emu_waits() - waits;
    t.moved = bytes::sum_of(cuda_emu_traffic());
    return t;
}

} // namespace

TEST_CASE_TEMPLATE("bytes of an iteration, as docs/cuda.md adds them up", T, double, float) {
    const auto table =
        bytes::of_table(FASTOPT_SOURCE "/docs/cuda.md", "## Memory traffic of an iteration of cbo");
    for (const Shape s : {Shape{40, 3}, Shape{600, 40}})
        for (const bool isotropic : {false, true})
            for (const bool memory : {false, true}) {
                CboOptions o;
                o.dynamics = memory ? Dynamics::memory : Dynamics::standard;
                o.noise = isotropic ? Noise::isotropic : Noise::anisotropic;
                o.n_particles = s.n, o.threads = 1, o.key = {7, 9};
                if (memory) o.drift = o.diffusion = o.memory_drift = 0; // no row gets better
                const Total before = run<T>(o, s.d, 4), after = run<T>(o, s.d, 5);
                Names names = sizes<T>(s.n, s.d);
                names["isotropic"] = isotropic, names["memory"] = memory;
                const index_t block_rows = std::max<index_t>(64, 16384 / s.d);
                names["b"] = (s.n + 255) / 256, names["p"] = (s.n + block_rows - 1) / block_rows;
                const bytes::Moved stated = bytes::total(table, names);
                INFO("n ", s.n, ", isotropic ", isotropic, ", memory ", memory);
                CHECK(after.moved.read - before.moved.read == stated.read);
                CHECK(after.moved.written - before.moved.written == stated.written);
                CHECK(after.waits - before.waits == (after.fun < before.fun ? 6 : 5));
            }
}

TEST_CASE("every kernel was counted") { traffic().every_kernel_was_counted(); }
