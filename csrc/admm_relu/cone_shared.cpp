// The projection on the cones of ranks that share the samples. All hold all blocks and take the
// same steps; each looks for violated rows among its own samples, and the worst of all ranks'
// travel.
#include <numeric>

#include "admm_relu/cone_scratch.hpp"
#include "core/parallel.hpp"

namespace fastopt {

index_t ConeProjector::first_sample() const {
    Communicator* comm = steps_.sharing().samples;
    if (!comm) return 0;
    const auto own = static_cast<double>(n_);
    std::vector<double> all(static_cast<std::size_t>(comm->size()));
    comm->allgather(&own, 1, all.data());
    return static_cast<index_t>(std::accumulate(all.begin(), all.begin() + comm->rank(), 0.0));
}

// For each open block: how many of this rank's rows v violates, and the worst of them as slack, row
// among those of all ranks and signed unit row.
void ConeProjector::look(const std::vector<index_t>& open, const double* r, const double* v,
                         std::vector<double>& found, std::vector<std::vector<double>>& rows) const {
    const index_t count = static_cast<index_t>(open.size()), d = d_, n = n_;
    found.assign(open.size(), 0.0), rows.assign(open.size(), {});
    parallel_for((count + group - 1) / group, threads_, [&](index_t b) {
        static thread_local Scratch w;
        w.fit(n, d);
        const index_t first = b * group, m = std::min(group, count - first);
        for (index_t i = 0; i < m; ++i)
            std::copy_n(v + open[first + i] * d, d, w.block.begin() + i * d);
        gemm(false, true, m, n, d, 1.0, w.block.data(), d, x_.data(), d, 0.0, w.xv.data(), n);
        for (index_t i = 0; i < m; ++i) {
            const index_t k = open[first + i];
            const double tolerance = feasibility * norm2(d, r + k * d);
            found[first + i] =
                static_cast<double>(collect(k % p_, w.xv.data() + i * n, 0.0, tolerance, w));
            std::vector<double>& out = rows[first + i];
            for (std::size_t q = 0; q < w.candidates.size(); ++q) {
                const Candidate& c = w.candidates[q];
                out.insert(out.end(), {w.violated[q].first, static_cast<double>(first_ + c.row)});
                for (index_t j = 0; j < d; ++j) out.push_back(c.sign * c.unit[j]);
            }
        }
    });
}

// A round: 2 numbers for each open block, and d + 2 for each of the rows that any rank sends.
void ConeProjector::project_shared(index_t count, const double* r, double level, ActiveSets& sets,
                                   double* v, double* norm) {
    Communicator& comm = *steps_.sharing().samples;
    const index_t d = d_, width = d + 2;
    Pause pause;
    parallel_for((count + group - 1) / group, threads_, [&](index_t b) {
        static thread_local Scratch w;
        w.fit(0, d);
        for (index_t k = b * group; k < std::min(count, (b + 1) * group); ++k) {
            warm(r + k * d, sets[k], v + k * d, w);
            norm[k] = norm2(d, v + k * d); // >= ||Proj_K||, as mu >= 0
        }
    });
    std::vector<index_t> open;
    for (index_t k = 0; k < count; ++k)
        if (norm[k] > level) open.push_back(k);
    std::vector<index_t> left(static_cast<std::size_t>(count), budget());
    std::vector<double> found, mine, counts, sent;
    std::vector<std::vector<double>> rows;
    while (!open.empty()) {
        look(open, r, v, found, rows);
        const std::size_t blocks = open.size(), ranks = static_cast<std::size_t>(comm.size());
        mine = found;
        for (const auto& some : rows) mine.push_back(static_cast<double>(some.size()));
        counts.resize(ranks * mine.size());
        comm.allgather(mine.data(), static_cast<index_t>(mine.size()), counts.data());
        // Where the rows of each rank for each block begin; all send as many as the one with most.
        std::vector<std::size_t> begin(ranks * (blocks + 1), 0);
        std::size_t most = 0;
        for (std::size_t rank = 0; rank < ranks; ++rank) {
            std::size_t* at = begin.data() + rank * (blocks + 1);
            for (std::size_t i = 0; i < blocks; ++i)
                at[i + 1] = at[i] + static_cast<std::size_t>(counts[(2 * rank + 1) * blocks + i]);
            most = std::max(most, at[blocks]);
        }
        if (most == 0) break;
        mine.clear();
        for (const auto& some : rows) mine.insert(mine.end(), some.begin(), some.end());
        mine.resize(most);
        sent.resize(ranks * most);
        comm.allgather(mine.data(), static_cast<index_t>(most), sent.data());

        std::vector<char> again(blocks, 0);
        parallel_for(static_cast<index_t>(blocks), threads_, [&](index_t i) {
            static thread_local Scratch w;
            w.fit(0, d);
            std::vector<const double*> worst;
            double all = 0;
            for (std::size_t rank = 0; rank < ranks; ++rank) {
                const std::size_t* at = begin.data() + rank * (blocks + 1) + i;
                all += counts[2 * rank * blocks + i];
                for (std::size_t q = at[0]; q < at[1]; q += width)
                    worst.push_back(sent.data() + rank * most + q);
            }
            std::sort(worst.begin(), worst.end(), [](const double* a, const double* b) {
                return std::pair(a[0], a[1]) < std::pair(b[0], b[1]);
            });
            worst.resize(std::min(worst.size(), static_cast<std::size_t>(most_candidates(d))));
            w.candidates.clear();
            for (const double* one : worst)
                w.candidates.push_back({1.0, one + 2, static_cast<index_t>(one[1])});
            const index_t k = open[i];
            again[i] = !worst.empty() && absorb(r + k * d, sets[k], v + k * d,
                                                static_cast<index_t>(all), left[k], w, pause);
        });
        std::vector<index_t> rest;
        for (std::size_t i = 0; i < blocks; ++i)
            if (again[i]) rest.push_back(open[i]);
        open = std::move(rest);
    }
    for (index_t k = 0; k < count; ++k) {
        norm[k] = norm2(d, v + k * d);
        if (norm[k] <= std::max(level, nothing * norm2(d, r + k * d))) {
            std::fill(v + k * d, v + (k + 1) * d, 0.0);
            norm[k] = 0;
        }
    }
}

} // namespace fastopt
