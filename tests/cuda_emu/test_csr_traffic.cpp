// The bytes that the kernels on CSR data read and write, counted, are those that the comments above
// them state.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "byte_formulas.hpp"
#include "cuda_emu.hpp"
#include "sketch_newton/glm.hpp"
#include "sketch_newton/sketch_draws.hpp"
#include "sketch_newton/sketch_steps.hpp"

using namespace fastopt;
using bytes::Names;

namespace {

// Row i has columns 0, and i % cols where that is another.
template <class T> struct Csr {
    Csr(index_t rows, index_t cols) : values(static_cast<std::size_t>(2 * rows), T(1)) {
        for (index_t i = 0; i < rows; ++i) {
            indices.push_back(0);
            if (i % cols) indices.push_back(static_cast<std::int32_t>(i % cols));
            indptr.push_back(static_cast<std::int64_t>(indices.size()));
        }
        a.rows = rows, a.cols = cols, a.values = values.data();
        a.indptr = indptr.data(), a.indices = indices.data();
    }
    std::vector<T> values;
    std::vector<std::int64_t> indptr = {0};
    std::vector<std::int32_t> indices;
    DataMatrix<T> a;
};

void expect(const CudaEmuTraffic& done, const std::string& kernel, const Names& names) {
    static const auto stated =
        bytes::of_kernels(FASTOPT_SOURCE "/csrc/sketch_newton/data_cuda.cuh");
    INFO(kernel);
    const bytes::ReadsWrites& formula = stated.at(kernel).least;
    CHECK(done.read == bytes::Formula(formula.reads, names).value());
    CHECK(done.written == bytes::Formula(formula.writes, names).value());
}

std::vector<CudaEmuTraffic> kernels() { // that have run since the last call
    std::vector<CudaEmuTraffic> done;
    for (const CudaEmuTraffic& one : cuda_emu_traffic())
        if (one.threads) done.push_back(one);
    return done;
}

} // namespace

TEST_CASE("bytes of products with CSR data") {
    for (const index_t rows : {200, 1500}) { // the first column has one part, or two
        const index_t cols = 7, parts = rows > part_entries ? 8 : 7;
        Csr<double> csr(rows, cols);
        csr.a.place(make_queue());
        const std::vector<double> y(static_cast<std::size_t>(rows), 1.0), x(7, 0.5);
        Glm glm(csr.a, y, {}, Family::gaussian, 0, 1, 1);
        kernels();
        glm.value(x.data());
        const auto done = kernels();
        Names names{{"T", 8}, {"n", 1}, {"entries", csr.a.entries()}, {"cols", cols}};
        names["segments"] = rows, names["length"] = cols, names["parts"] = parts;
        const bool folds = rows > 256;
        REQUIRE(done.size() == (folds ? 5 : 3));
        expect(done[0], "segment_sums", names);
        names["segments"] = parts, names["length"] = rows;
        expect(done[folds ? 3 : 2], "segment_sums", names);
        if (!folds) continue;
        CHECK(done[4].read == bytes::Formula("8 (cols + 1) + T n parts", names).value());
        CHECK(done[4].written == bytes::Formula("T n cols", names).value());
    }
}

TEST_CASE_TEMPLATE("bytes of rows of CSR data that are drawn", T, double, float) {
    for (const index_t rows : {3, 300}) {
        const index_t cols = 40;
        Csr<T> csr(rows, cols);
        const auto queue = make_queue();
        csr.a.place(queue);
        SketchOptions o;
        o.kind = SketchKind::uniform, o.size = 50, o.key = {3, 4}, o.threads = 1;
        const Array<T> out(queue, o.size * cols);
        kernels();
        sketch(queue, csr.a, static_cast<const T*>(nullptr), o, out.data());
        out.fetch();
        const auto done = kernels();
        REQUIRE(done.size() == 1);
        std::set<index_t> entries, ends;
        index_t hit = 0;
        for (const index_t i : sample_rows(rows, o).row) {
            ends.insert(i), ends.insert(i + 1);
            hit += csr.indptr[i + 1] - csr.indptr[i];
            for (index_t e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) entries.insert(e);
        }
        Names names{{"T", static_cast<index_t>(sizeof(T))}, {"cols", cols}, {"size", o.size}};
        names["entries"] = static_cast<index_t>(entries.size());
        names["ends"] = static_cast<index_t>(ends.size()), names["hit"] = hit;
        names["elements"] = 16 * o.size; // a row and a factor each
        expect(done[0], "gather_rows", names);
    }
}
