// Solves of admm_relu by conjugate gradients and against an adversary, on the emulated device: the
// same bits in any order of the threads, and every call failing once.
#include <doctest/doctest.h>

#include "admm_cases.hpp"
#include "cuda_emu.hpp"
#include "failing_calls.hpp"

using namespace fastopt;
using admm_cases::Numbers;

namespace {

struct Solve {
    bool robust = false; // else by conjugate gradients
    index_t iterations = 8;

    template <class T> AdmmResult run(const admm_cases::Shape& s) const {
        admm_cases::Samples k(s);
        Numbers y = admm_cases::random_numbers(s.c * s.n, 47);
        for (double& v : y) v = v > 0 ? 1 : -1;
        ProgramShape shape;
        shape.n = s.n, shape.d = s.d, shape.n_gates = s.p, shape.c = s.c, shape.robust = robust;
        Program program(shape, k.x.data(), k.gates.data(),
                        Loss(LossKind::squared_hinge, s.n, s.c, y, {}, 1, 1), 1,
                        Numbers(static_cast<std::size_t>(robust ? s.d : 0), 0.01));
        AdmmOptions options;
        options.gap_tol = 1e-14, options.maxiter = iterations, options.polish = false;
        AdmmMonitor monitor;
        SplittingSolver<T> solver(program, robust ? 1000 : 0);
        return solver.solve(0.3, options, nullptr, monitor);
    }
};

} // namespace

TEST_CASE_TEMPLATE("a solve by conjugate gradients or with boxes has the same bits in any order", T,
                   double, float) {
    for (const bool robust : {false, true}) {
        const Solve solve{robust};
        const admm_cases::Shape shape = {24, 3, 4, robust ? 1 : 2};
        cuda_emu_seed(0);
        const AdmmResult first = solve.run<T>(shape);
        CHECK(first.dual <= first.fun);
        CHECK((first.cg_iterations > 0) == !robust);
        for (std::uint64_t seed = 1; seed < 3; ++seed) {
            cuda_emu_seed(seed);
            const AdmmResult again = solve.run<T>(shape);
            CHECK(again.weights == first.weights);
            CHECK(again.dual == first.dual);
        }
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("an iteration of conjugate gradients waits once") {
    const admm_cases::Samples k({40, 3, 5, 2});
    const auto queue = make_queue();
    const auto x = admm_cases::on_device(queue, k.x), gates = admm_cases::on_device(queue, k.gates);
    Design<double> design(40, 3, 5, 2, x.data(), gates.data(), 1, queue);
    const auto a = admm_cases::on_device(queue, admm_cases::random_numbers(2 * design.half(), 48)),
               b = admm_cases::on_device(queue, admm_cases::random_numbers(80, 49));
    const Array<double> u(queue, a.size()), z(queue, 80);
    GraphProjection<double> graph(design, 2, 0);
    graph.set(0.3);
    const long waits = cuda_emu_waits();
    graph.project(a.data(), b.data(), u.data(), z.data(), true, 1e-10);
    REQUIRE(graph.cg_iterations() > 5);
    CHECK(cuda_emu_waits() - waits == graph.cg_iterations() + 2); // |rhs| and the last residual
}

TEST_CASE("admm_relu: every failing call of these solves too gives an exception, and no leak") {
    for (const bool robust : {false, true}) {
        const Solve solve{robust, 1};
        const admm_cases::Shape shape = {10, 2, 2, 1};
        fail_every_call(
            100, 16, [&] { return solve.run<double>(shape); },
            [](const AdmmResult& a, const AdmmResult& b) { return a.weights == b.weights; });
    }
}
