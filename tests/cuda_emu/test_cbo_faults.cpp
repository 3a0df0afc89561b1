// Every call of the CUDA runtime and its libraries that a solve makes fails once: the solve ends
// with an exception (only what gives something back may fail in silence), nothing leaks, and the
// next solve gives the same bits. And: an interrupted run goes on with the same bits.
#include <doctest/doctest.h>

#include "cbo_runs.hpp"

#include <cstring>
#include <new>

#include "core/error.hpp"

#include "cuda_emu.hpp"

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
        const long start = cuda_emu_calls(), released = cuda_emu_releases();
        const auto whole = runs::solve<double>(run);
        const long calls = cuda_emu_calls() - start, releases = cuda_emu_releases() - released;
        REQUIRE(calls > 20);
        CHECK(cuda_emu_live() == 0);
        long quiet = 0;
        for (long n = 1; n <= calls; ++n) {
            cuda_emu_fail_call(n);
            try {
                const auto result = runs::solve<double>(run);
                CHECK(same_run(result, whole));
                ++quiet;
            } catch (const BackendError& error) {
                const std::string words = error.what();
                const bool clear = words.find("failed") != std::string::npos ||
                                   words.find("needs a CUDA device") != std::string::npos;
                CHECK(clear);
            }
            cuda_emu_fail_call(0);
            CHECK(cuda_emu_live() == 0);
            CHECK(same_run(runs::solve<double>(run), whole));
        }
        CAPTURE(run.name);
        CHECK(quiet == releases);
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
