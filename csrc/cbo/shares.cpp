#include "cbo/shares.hpp"

namespace fastopt {
namespace {

constexpr index_t most_numbers = index_t{1} << 20; // of the partial sums gathered at a time
constexpr double most_uneven = 1.25;               // the largest share over an even one

} // namespace

Shares::Shares(Communicator* comm, index_t n, index_t block_rows, bool divisible)
    : comm_(comm), n_(n), n_blocks_((n + block_rows - 1) / block_rows), held_{0, n} {
    if (!comm || !divisible || n_blocks_ < comm->size()) return;
    const double largest = static_cast<double>(blocks(0).count() * block_rows);
    if (largest * comm->size() > most_uneven * static_cast<double>(n)) return;
    block_rows_ = block_rows;
    held_ = part(n, comm->rank());
}

Share Shares::part(index_t n, int rank) const {
    if (!divided()) return share_of(n, rank, comm_->size());
    const Share b = blocks(rank);
    return {b.begin * block_rows_, std::min(b.end * block_rows_, n_)};
}

// all = the parts of the ranks, one after another; part r has share(r).count() rows.
template <class F>
void Shares::exchange(const double* mine, index_t width, F share, double* all) const {
    index_t most = 0;
    for (int r = 0; r < comm_->size(); ++r) most = std::max(most, share(r).count() * width);
    if (most == 0) return;
    sent_.resize(most), received_.resize(most * comm_->size());
    std::copy_n(mine, share(comm_->rank()).count() * width, sent_.begin());
    comm_->allgather(sent_.data(), most, received_.data());
    for (int r = 0; r < comm_->size(); ++r)
        std::copy_n(received_.begin() + r * most, share(r).count() * width,
                    all + share(r).begin * width);
}

void Shares::gather(double* rows, index_t n, index_t width) const {
    if (!comm_) return;
    exchange(rows + part(n).begin * width, width, [&](int r) { return part(n, r); }, rows);
}

void Shares::add_blocks(const double* partial, index_t n_blocks, index_t width,
                        double* sums) const {
    const auto add = [sums](const double* rows, index_t n, index_t k0, index_t k1) {
        std::copy_n(rows, k1 - k0, sums + k0);
        for (index_t b = 1; b < n; ++b)
            for (index_t k = k0; k < k1; ++k) sums[k] += rows[b * (k1 - k0) + k - k0];
    };
    if (!divided()) return add(partial, n_blocks, 0, width);
    const index_t most = std::max<index_t>(1, most_numbers / n_blocks_);
    for (index_t k = 0; k < width; k += most) {
        const index_t count = std::min(most, width - k);
        mine_.clear();
        for (index_t b = 0; b < n_blocks; ++b)
            mine_.insert(mine_.end(), partial + b * width + k, partial + b * width + k + count);
        all_.resize(n_blocks_ * count);
        exchange(mine_.data(), count, [&](int r) { return blocks(r); }, all_.data());
        add(all_.data(), n_blocks_, k, k + count);
    }
}

void Shares::send_row(index_t i, double* x, index_t d) const {
    if (!divided()) return;
    int owner = 0;
    while (part(n_, owner).end <= i) ++owner;
    broadcast(*comm_, owner, x, d);
}

} // namespace fastopt
