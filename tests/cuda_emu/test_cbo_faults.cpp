// Every call of the CUDA runtime and its libraries that a solve makes fails once: the solve ends
// with an exception (only what gives something back may fail in silence), nothing leaks, and the
// next solve gives the same bits. And: an interrupted run goes on with the same bits.
#include <doctest/doctest.h>

#include "cbo_runs.hpp"

#include <cstring>
#include <new>

#include "cuda_emu.hpp"
#include "failing_calls.hpp"

using namespace fastopt;

namespace {

template <class T> bool same_run(const CboResult<T>& a, const CboResult<T>& b) {
    const auto bytes = static_cast<std::size_t>(a.population.size()) * sizeof(T);
    return a.fun == b.fun && a.x == b.x && a.consensus == b.consensus &&
           std::memcmp(a.population.data(), b.population.data(), bytes) == 0;
}

class StopAt final : public Monitor {
  public:
    explicit StopAt(index_t nit) : nit_(nit) {}
    bool stop(const Record& r) override {
        if (r.nit == nit_) saved = (*r.snapshot)();
        return r.nit == nit_;
    }
    Snapshot saved;

  private:
    index_t nit_;
};

} // namespace

TEST_CASE("every failing call gives an exception, no leak, and the next solve works") {
    for (runs::Run run : runs::all()) {
        const bool chosen = run.name == "memory, isotropic, batches" ||
                            run.name == "shifted and rotated" || run.name == "covariance noise";
        if (!chosen) continue;
        run.options.n_particles = 70;
        run.options.maxiter = 2;
        CAPTURE(run.name);
        fail_every_call(20, 1, [&] { return runs::solve<double>(run); }, same_run<double>);
    }
}

TEST_CASE("without memory a solve throws bad_alloc, and leaks nothing") {
    const runs::Run run = runs::all().front();
    int failed = 0;
    for (std::size_t limit = 64; limit < 64 * 1024; limit = limit * 5 / 4) {
        cuda_emu_memory_limit(limit);
        try {
            runs::solve<double>(run);
        } catch (const std::bad_alloc&) {
            ++failed;
        }
        CHECK(cuda_emu_live() == 0);
    }
    cuda_emu_memory_limit(0);
    CHECK(failed > 5);
    CHECK(std::isfinite(runs::solve<double>(run).fun));
}

TEST_CASE("a run that was stopped and saved goes on with the same bits") {
    for (const runs::Run& run : runs::all()) {
        if (!run.exact || run.constrained) continue;
        CAPTURE(run.name);
        const auto whole = runs::solve<double>(run);
        StopAt monitor(3);
        runs::solve<double>(run, nullptr, &monitor);
        CHECK(same_run(runs::solve<double>(run, &monitor.saved), whole));
    }
    CHECK(cuda_emu_live() == 0);
}
