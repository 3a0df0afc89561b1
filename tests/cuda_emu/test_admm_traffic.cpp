// The bytes that an iteration of admm_relu reads and writes, counted, are those that docs/cuda.md
// adds up; of its cones, whose bytes depend on the data, only that they are what is left out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "admm_cases.hpp"
#include "admm_relu/program.hpp"
#include "byte_formulas.hpp"
#include "cuda_emu.hpp"

using namespace fastopt;
using bytes::Names;

namespace {

constexpr unsigned cone_threads = 128; // a block of the cones' kernels has as many, others 256

struct Total {
    bytes::Moved moved;
    index_t waits = 0;
};

template <class T>
Total run(const admm_cases::Shape& s, bool cone, bool paper, index_t memory, index_t maxiter) {
    const admm_cases::Samples samples(s);
    ProgramShape shape;
    shape.n = s.n, shape.d = s.d, shape.n_gates = s.p, shape.c = s.c;
    shape.cone = cone, shape.signs = cone ? 2 : 1;
    Program program(
        shape, samples.x.data(), samples.gates.data(),
        Loss(LossKind::squared, s.n, s.c, admm_cases::random_numbers(s.c * s.n, 31), {}, 1, 1), 1);
    AdmmOptions o;
    o.gap_tol = o.tol = 1e-300, o.maxiter = maxiter, o.memory = memory, o.polish = false;
    AdmmMonitor quiet;
    cuda_emu_traffic();
    const long waits = cuda_emu_waits();
    const double beta = 0.1 * program.beta_max();
    if (paper)
        PaperSolver<T>(program, 20000).solve(beta, o, nullptr, quiet);
    else
        SplittingSolver<T>(program, 20000).solve(beta, o, nullptr, quiet);
    Total t;
    t.waits = cuda_emu_waits() - waits;
    for (const CudaEmuTraffic& one : cuda_emu_traffic())
        if (one.threads != cone_threads)
            t.moved += {static_cast<index_t>(one.read), static_cast<index_t>(one.written)};
    return t;
}

template <class T> Names sizes(const admm_cases::Shape& s, bool cone) {
    const index_t signs = cone ? 2 : 1, weights = s.p * s.d;
    Names names{{"T", static_cast<index_t>(sizeof(T))}, {"n", s.n}, {"d", s.d}, {"c", s.c}};
    names["P"] = s.p, names["h"] = s.c * weights, names["B"] = signs * s.c * s.p;
    names["rows"] = s.n <= weights, names["columns"] = 1 - names["rows"];
    names["s"] = std::min(s.n, weights), names["cone"] = cone;
    return names;
}

constexpr const char* heading = "## Memory traffic of an iteration of admm_relu";

} // namespace

TEST_CASE_TEMPLATE("bytes of an iteration, as docs/cuda.md adds them up", T, double, float) {
    const auto table = bytes::of_table(FASTOPT_SOURCE "/docs/cuda.md", heading);
    const index_t memory = 4;
    for (const admm_cases::Shape& s : {admm_cases::Shape{60, 3, 7, 1}, {9, 4, 6, 2}})
        for (const bool cone : {false, true}) {
            const Total before = run<T>(s, cone, false, memory, 8),
                        after = run<T>(s, cone, false, memory, 9);
            Names names = sizes<T>(s, cone);
            names["m"] = memory;
            const auto blocks = [](index_t items, index_t most) {
                return std::min<index_t>((items + 255) / 256, most);
            };
            names["g"] = blocks(names["B"] * s.d, 256), names["q"] = blocks(names["B"], 256);
            names["k"] = blocks(names["B"] * s.d, 16);
            REQUIRE(names["g"] == 1); // one block: nothing to fold
            const bytes::Moved stated = bytes::total(table, names);
            // The signature reads the active rows of the blocks that are not 0.
            const index_t active = cone ? names["B"] * 8 * (1 + s.d) : 0;
            INFO("n ", s.n, ", cone ", cone);
            const index_t read = after.moved.read - before.moved.read;
            CHECK(after.moved.written - before.moved.written == stated.written);
            CHECK(read >= stated.read);
            CHECK(read <= stated.read + active);
            CHECK(after.waits - before.waits == 5);
        }
}

TEST_CASE_TEMPLATE("bytes of an iteration of 'admm', as docs/cuda.md adds them up", T, double,
                   float) {
    const auto with_f = bytes::of_table(FASTOPT_SOURCE "/docs/cuda.md", heading);
    const auto own = bytes::of_table(FASTOPT_SOURCE "/docs/cuda.md", "An iteration of 'admm'");
    for (const admm_cases::Shape& s : {admm_cases::Shape{7, 5, 2, 2}, {9, 4, 2, 2}}) {
        const Total before = run<T>(s, true, true, 0, 8), after = run<T>(s, true, true, 0, 9);
        Names names = sizes<T>(s, true);
        names["g"] = names["q"] = 1;
        REQUIRE(std::max(32 * names["B"], names["B"] * s.n) <= 256); // nothing to fold
        bytes::Moved stated = bytes::total(own, names);
        stated += bytes::total(with_f, names, "rows:");
        INFO("n ", s.n);
        CHECK(after.moved.read - before.moved.read == stated.read);
        CHECK(after.moved.written - before.moved.written == stated.written);
        CHECK(after.waits - before.waits == 2);
    }
}
