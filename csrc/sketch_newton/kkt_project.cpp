#include <algorithm>
#include <cmath>

#include "core/random.hpp"
#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {
namespace {

enum Stream : std::uint32_t { coordinates = 56, columns };
constexpr index_t block_width = 10;
constexpr index_t most_products = 200000; // n + m dimensional products of one solve

} // namespace

const char* SketchAndProject::name() const {
    switch (kind_) {
    case LinearSolver::kaczmarz:
        return "kaczmarz";
    case LinearSolver::gaussian:
        return "gaussian";
    case LinearSolver::countsketch:
        return "countsketch";
    default:
        return "block";
    }
}

Shape SketchAndProject::factor(const KktSystem& k, bool same) {
    kkt_.set(k, same);
    if (full_.size() != k.size() * k.size())
        full_ = Array<double>(o_.queue, checked_product(k.size(), k.size()));
    kkt_.form(full_.data());
    return Shape::right;
}

void SketchAndProject::draw(index_t size, index_t width, double* s) {
    std::fill(s, s + size * width, 0.0);
    const Draw at{o_.key, draws_++, coordinates};
    std::vector<std::uint32_t> words(static_cast<std::size_t>(size));
    switch (kind_) {
    case LinearSolver::gaussian:
        return fill_normal(s, 0, size * width, {at.key, at.iteration, columns});
    case LinearSolver::countsketch:
        fill_words(words.data(), 0, size, at);
        for (index_t i = 0; i < size; ++i)
            s[i * width + scale_word(words[i], static_cast<std::uint32_t>(width))] =
                (words[i] & 1u) ? -1.0 : 1.0;
        return;
    default: // distinct coordinates
        std::vector<index_t> order(static_cast<std::size_t>(size));
        for (index_t i = 0; i < size; ++i) order[i] = i;
        fill_words(words.data(), 0, width, at);
        for (index_t q = 0; q < width; ++q) {
            std::swap(order[q],
                      order[q + scale_word(words[q], static_cast<std::uint32_t>(size - q))]);
            s[order[q] * width + q] = 1.0;
        }
    }
}

Shape SketchAndProject::solve(const double* r, double rtol, double* d) {
    const index_t size = kkt_.system().size(),
                  width = kind_ == LinearSolver::kaczmarz
                              ? 1
                              : std::min(o_.sketch_size > 0 ? o_.sketch_size : block_width, size);
    Queue& queue = *o_.queue;
    const Array<double> s(o_.queue, size * width), y(o_.queue, size * width),
        g(o_.queue, width * (width + 1)), a(o_.queue, width), step(o_.queue, size),
        rest(o_.queue, size), at(o_.queue, size);
    std::copy_n(r, size, rest.mirror());
    rest.send();
    std::vector<double> values(static_cast<std::size_t>(width));
    const double first = euclid(r, size);
    sketch_rows = width;
    Shape shape = Shape::inaccurate;
    for (index_t k = 0; k * width < most_products; ++k) {
        if (row_lengths(o_.queue, 1, size, rest.data())[0] <= rtol * first) {
            shape = Shape::right;
            break;
        }
        ++iterations;
        poll();
        draw(size, width, s.mirror());
        s.send();
        // Y = K S;  d -= Y (Y'Y)^+ S'r
        gemm<double>(queue, false, false, size, width, size, 1.0, full_.data(), size, s.data(),
                     width, 0.0, y.data(), width);
        gemm<double>(queue, true, false, width, width, size, 1.0, y.data(), width, y.data(), width,
                     0.0, g.data(), width);
        gemv(queue, true, size, width, 1.0, s.data(), width, rest.data(), 0.0,
             g.data() + width * width);
        double *vectors = g.fetch(), *right = vectors + width * width;
        if (!syev(width, vectors, width, values.data())) break;
        std::fill_n(a.mirror(), width, 0.0);
        for (index_t i = 0; i < width; ++i) {
            if (values[i] <= 1e-13 * values.back()) continue;
            double along = 0;
            for (index_t q = 0; q < width; ++q) along += vectors[i * width + q] * right[q];
            for (index_t q = 0; q < width; ++q)
                a.mirror()[q] += along / values[i] * vectors[i * width + q];
        }
        a.send();
        gemv(queue, false, size, width, -1.0, y.data(), width, a.data(), 0.0, step.data());
        add(queue, size, 1.0, step.data(), at.data());
        gemv(queue, false, size, size, 1.0, full_.data(), size, step.data(), 1.0, rest.data());
    }
    std::copy_n(at.fetch(), size, d);
    return shape;
}

} // namespace fastopt
