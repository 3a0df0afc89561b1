// The algebra seam against plain loops; memory.
#include "backend/backend.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

using namespace fastopt;

namespace {

template <class T> std::vector<T> random_matrix(index_t size, std::uint32_t seed) {
    std::mt19937_64 gen(seed);
    std::uniform_real_distribution<double> u(-1.0, 1.0);
    std::vector<T> a(static_cast<std::size_t>(size));
    for (T& v : a) v = static_cast<T>(u(gen));
    return a;
}

template <class T> double tolerance() { return 40 * std::numeric_limits<T>::epsilon(); }

// Rows are `pad` longer than they need be; the padding must come back untouched.
template <class T>
void compare_gemm(index_t m, index_t n, index_t k, bool ta, bool tb, index_t pad) {
    const index_t lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + pad, ldc = n + pad;
    const auto a = random_matrix<T>((ta ? k : m) * lda, 1);
    const auto b = random_matrix<T>((tb ? n : k) * ldb, 2);
    const auto before = random_matrix<T>(m * ldc, 3);
    auto c = before;
    const T alpha = T(0.75), beta = T(-0.5);
    gemm<T>(ta, tb, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
    for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < ldc; ++j) {
            const std::size_t at = static_cast<std::size_t>(i * ldc + j);
            if (j >= n) {
                CHECK(c[at] == before[at]);
                continue;
            }
            double sum = 0;
            for (index_t l = 0; l < k; ++l) {
                const T x = a[static_cast<std::size_t>(ta ? l * lda + i : i * lda + l)];
                const T y = b[static_cast<std::size_t>(tb ? j * ldb + l : l * ldb + j)];
                sum += static_cast<double>(x) * static_cast<double>(y);
            }
            const double want = 0.75 * sum - 0.5 * static_cast<double>(before[at]);
            CHECK(std::fabs(static_cast<double>(c[at]) - want) <= tolerance<T>());
        }
}

template <class T> void compare_syrk(index_t n, index_t k, index_t pad) {
    const index_t lda = n + pad, ldc = n + pad;
    const auto a = random_matrix<T>(k * lda, 4);
    const auto before = random_matrix<T>(n * ldc, 5);
    auto c = before;
    syrk<T>(n, k, T(2), a.data(), lda, T(0.25), c.data(), ldc);
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < ldc; ++j) {
            const std::size_t at = static_cast<std::size_t>(i * ldc + j);
            if (j > i) { // above the diagonal nothing is written
                CHECK(c[at] == before[at]);
                continue;
            }
            double sum = 0;
            for (index_t l = 0; l < k; ++l)
                sum += static_cast<double>(a[static_cast<std::size_t>(l * lda + i)]) *
                       static_cast<double>(a[static_cast<std::size_t>(l * lda + j)]);
            const double want = 2 * sum + 0.25 * static_cast<double>(before[at]);
            CHECK(std::fabs(static_cast<double>(c[at]) - want) <= 3 * tolerance<T>());
        }
}

template <class T> void factor_and_multiply(index_t n) {
    const index_t k = n + 3;
    const auto b = random_matrix<T>(k * n, 6);
    std::vector<T> a(static_cast<std::size_t>(n * n));
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) {
            double sum = i == j ? 0.5 : 0.0;
            for (index_t l = 0; l < k; ++l)
                sum += static_cast<double>(b[static_cast<std::size_t>(l * n + i)]) *
                       static_cast<double>(b[static_cast<std::size_t>(l * n + j)]);
            a[static_cast<std::size_t>(i * n + j)] = static_cast<T>(sum);
        }
    auto l = a;
    REQUIRE(potrf<T>(n, l.data(), n));
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j <= i; ++j) {
            double sum = 0;
            for (index_t q = 0; q <= j; ++q)
                sum += static_cast<double>(l[static_cast<std::size_t>(i * n + q)]) *
                       static_cast<double>(l[static_cast<std::size_t>(j * n + q)]);
            const double want = static_cast<double>(a[static_cast<std::size_t>(i * n + j)]);
            CHECK(std::fabs(sum - want) <= static_cast<double>(n) * tolerance<T>());
        }
}

} // namespace

TEST_CASE_TEMPLATE("gemm equals plain loops", T, double, float) {
    for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
            CAPTURE(ta);
            CAPTURE(tb);
            compare_gemm<T>(1, 1, 1, ta, tb, 0);
            compare_gemm<T>(5, 7, 3, ta, tb, 2);
            compare_gemm<T>(17, 33, 9, ta, tb, 0);
            compare_gemm<T>(64, 20, 20, ta, tb, 5);
        }
}

TEST_CASE_TEMPLATE("syrk equals plain loops and leaves the upper triangle", T, double, float) {
    compare_syrk<T>(1, 1, 0);
    compare_syrk<T>(6, 11, 3);
    compare_syrk<T>(40, 7, 0);
}

TEST_CASE_TEMPLATE("potrf gives L with L L' = A", T, double, float) {
    for (const index_t n : {1, 2, 7, 40}) factor_and_multiply<T>(n);
}

TEST_CASE_TEMPLATE("potrf says when a matrix is not positive definite", T, double, float) {
    std::vector<T> indefinite = {1, 2, 2, 1};
    CHECK_FALSE(potrf<T>(2, indefinite.data(), 2));
    std::vector<T> zero = {0};
    CHECK_FALSE(potrf<T>(1, zero.data(), 1));
    std::vector<T> undefined = {std::numeric_limits<T>::quiet_NaN()};
    CHECK_FALSE(potrf<T>(1, undefined.data(), 1));
}

TEST_CASE("syev gives A V = V D, and says when a matrix is not finite") {
    const double a[] = {4, 0, 0, 1, 3, 0, -2, 0.5, 1}; // the lower triangle
    double v[9], d[3];
    std::copy_n(a, 9, v);
    REQUIRE(syev(3, v, 3, d));
    CHECK((d[0] <= d[1] && d[1] <= d[2]));
    for (int i = 0; i < 3; ++i)
        for (int r = 0; r < 3; ++r) {
            double av = 0;
            for (int c = 0; c < 3; ++c) av += a[std::max(r, c) * 3 + std::min(r, c)] * v[i * 3 + c];
            CHECK(av == doctest::Approx(d[i] * v[i * 3 + r]));
        }
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
        for (const int at : {0, 3, 6, 8}) {
            std::copy_n(a, 9, v);
            v[at] = bad;
            CHECK_FALSE(syev(3, v, 3, d));
        }
}

TEST_CASE("dimensions that BLAS cannot count are refused") {
    double x = 0;
    const index_t huge = index_t{1} << 31;
    CHECK_THROWS_AS(gemm<double>(false, false, huge, 1, 1, 1, &x, 1, &x, 1, 0, &x, 1),
                    std::invalid_argument);
    CHECK_THROWS_AS(gemm<double>(false, false, -1, 1, 1, 1, &x, 1, &x, 1, 0, &x, 1),
                    std::invalid_argument);
    CHECK_THROWS_AS(potrf<double>(huge, &x, 1), std::invalid_argument);
}

TEST_CASE("a buffer is aligned, zeroed and shared") {
    Buffer<double> a(1001);
    CHECK(reinterpret_cast<std::uintptr_t>(a.data()) % 64 == 0);
    CHECK(a.size() == 1001);
    for (index_t i = 0; i < a.size(); ++i) CHECK(a[i] == 0.0);
    a[1000] = 5;
    std::shared_ptr<double> owner = a.owner();
    a = Buffer<double>();
    CHECK(a.size() == 0);
    CHECK(owner.get()[1000] == 5);
    const Buffer<float> none(0);
    CHECK(none.size() == 0);
}

TEST_CASE("sizes that overflow or exceed memory give bad_alloc") {
    const index_t largest = std::numeric_limits<index_t>::max();
    CHECK(checked_product(1 << 20, 1 << 20) == index_t{1} << 40);
    CHECK(checked_product(0, largest) == 0);
    CHECK_THROWS_AS(checked_product(index_t{1} << 40, index_t{1} << 40), std::bad_alloc);
    CHECK_THROWS_AS(checked_product(-1, 3), std::bad_alloc);
    CHECK_THROWS_AS(Buffer<double>{index_t{1} << 61}, std::bad_alloc);
    CHECK_THROWS_AS(Buffer<double>{largest}, std::bad_alloc);
    CHECK_THROWS_AS(Buffer<char>{largest}, std::bad_alloc);
    CHECK_THROWS_AS(Buffer<double>{index_t{1} << 55}, std::bad_alloc);
    CHECK_THROWS_AS(Buffer<double>{-1}, std::bad_alloc);
}

TEST_CASE("the library says who it is") {
    CHECK(std::string(blas_name()).find("OpenBLAS") != std::string::npos);
}
