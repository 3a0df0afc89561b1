// The exchange with other libraries on the device: layouts, and queues that wait for each other.
#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "backend/exchange.hpp"
#include "core/error.hpp"

#include "cuda_emu.hpp"

using namespace fastopt;

namespace {

template <class T> Array<T> counted(const std::shared_ptr<Queue>& queue, index_t n) {
    const Array<T> a(queue, n);
    std::iota(a.mirror(), a.mirror() + n, T(1));
    a.send();
    return a;
}

template <class From, class To>
void check_layout(index_t rows, index_t cols, index_t by_row, index_t by_col) {
    const auto queue = make_queue();
    const Array<From> from = counted<From>(queue, (rows - 1) * by_row + (cols - 1) * by_col + 1);
    const Array<To> to(queue, rows * cols);
    copy_rows(*queue, Strided<From>{from.data(), rows, cols, by_row, by_col}, to.data());
    const To* got = to.fetch();
    index_t wrong = 0;
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; ++j)
            wrong += got[i * cols + j] != static_cast<To>(from.mirror()[i * by_row + j * by_col]);
    CHECK(wrong == 0);
}

} // namespace

TEST_CASE("arrays of every layout are read by rows, for ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        for (const index_t n : {1, 31, 70}) {
            check_layout<double, double>(n, 3, 3, 1); // by rows
            check_layout<float, double>(n, 3, 1, n);  // by columns
            check_layout<float, float>(1, n, n, 1);
            check_layout<double, double>(n, 2, 10, 4); // a part of something
            check_layout<float, double>(n, 1, 0, 0);   // one number for all
        }
    }
    check_layout<double, double>(3, 1024 * 256 / 2, 1024 * 256 / 2, 1); // more than threads
}

TEST_CASE("another stream waits for a moment of a queue") {
    const auto first = make_queue(), second = make_queue();
    const Array<double> a = counted<double>(first, 100), b(first, 100), c(second, 100);
    wait_for_device(*first);
    copy_rows(*first, Strided<double>{a.data(), 1, 100, 100, 1}, b.data());
    Moment now(*first);
    now.set();
    now.hold(stream_of(*second));
    copy(*second, c.data(), b.data(), 100 * sizeof(double)); // runs first, but for the moment
    CHECK(c.fetch()[99] == 100);
}

TEST_CASE("the host waits for a moment, and for the device") {
    const auto first = make_queue(), second = make_queue();
    const Array<double> a = counted<double>(first, 10);
    for (const bool whole : {false, true}) {
        const Array<double> b(first, 10), c(second, 10);
        wait_for_device(*second); // all are zero
        copy_rows(*first, Strided<double>{a.data(), 1, 10, 10, 1}, b.data());
        Moment now(*first);
        now.set();
        whole ? wait_for_device(*second) : now.wait();
        copy(*second, c.data(), b.data(), 10 * sizeof(double));
        CHECK(c.fetch()[9] == 10);
    }
}

TEST_CASE("a moment whose calls fail is an exception, and leaves nothing") {
    const long before = cuda_emu_live();
    {
        const auto queue = make_queue();
        for (long call = 1; call <= 3; ++call) {
            cuda_emu_fail_call(call);
            const auto use = [&] {
                Moment now(*queue);
                now.set();
                now.hold(1); // the default stream
            };
            CHECK_THROWS_AS(use(), BackendError);
            cuda_emu_fail_call(0);
        }
        CHECK(ordinal(*queue) == 0);
    }
    CHECK(cuda_emu_live() == before);
}
