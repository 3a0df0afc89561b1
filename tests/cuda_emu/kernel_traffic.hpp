// What the kernels have moved since the last look, beside what the comments above them state.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/queue.hpp"
#include "byte_formulas.hpp"
#include "cuda_emu.hpp"

namespace bytes {

using fastopt::Array;
using fastopt::Queue;

// A kernel, or the functor of one, with the values of the names in its formulas.
struct Kernel {
    std::string name;
    Names names;
    std::string by = "each"; // what runs it, where it is a functor
};

// The functor of a reduction to parts of `bytes` bytes, one from each of `blocks` blocks.
inline Kernel reduced(std::string name, Names names, index_t bytes = 8, index_t blocks = 1) {
    names["V"] = bytes, names["blocks"] = blocks;
    return {std::move(name), std::move(names), "reduce_parts"};
}

using Kernels = std::vector<Kernel>;
inline Kernels& operator+=(Kernels& list, const Kernels& more) {
    list.insert(list.end(), more.begin(), more.end());
    return list;
}
inline Kernels with_names(const std::vector<std::string>& kernels, const Names& names) {
    Kernels list;
    for (const std::string& name : kernels) list.push_back({name, names});
    return list;
}

// Of what is asked of the device from here on.
class Count {
  public:
    explicit Count(const std::shared_ptr<Queue>& queue) : probe_(queue, 1) {
        finish();
        cuda_emu_traffic();
        waits_ = cuda_emu_waits();
    }
    long finish() const { // how often the host has waited; then all is done
        const long waits = cuda_emu_waits() - waits_;
        probe_.fetch();
        return waits;
    }

  private:
    Array<char> probe_;
    long waits_ = 0;
};

// Whether the mangled type of a kernel has an argument of this type.
inline bool has_type(const std::string& mangled, const std::string& type) {
    return mangled.find(std::to_string(type.size()) + type) != std::string::npos;
}

inline Moved sum_of(const std::vector<CudaEmuTraffic>& done) {
    Moved sum;
    for (const CudaEmuTraffic& one : done)
        sum += {static_cast<index_t>(one.read), static_cast<index_t>(one.written), 1};
    return sum;
}

class KernelTraffic {
  public:
    // Of the kernels of these files of csrc, and of others that may run between them.
    explicit KernelTraffic(const std::vector<std::string>& files,
                           const std::vector<std::string>& others = {}) {
        for (const std::string& file : files) stated_.merge(of_kernels(source(file)));
        for (const std::string& file : others) common_.merge(of_kernels(source(file)));
        common_.merge(of_kernels(source("backend/launch.cuh")));
        common_.merge(of_kernels(source("backend/reduce.cuh")));
    }

    bool exactly = false; // the least bytes of kernels whose bytes depend on the data

    // The kernels that have run since the last call are these, and moved what they state. Returns
    // what moved in all, also by fills and by calls of the libraries.
    Moved expect(const Kernels& kernels) {
        const std::vector<CudaEmuTraffic> all = cuda_emu_traffic();
        std::vector<CudaEmuTraffic> done;
        for (const CudaEmuTraffic& one : all)
            if (one.threads) done.push_back(one);
        REQUIRE(done.size() == kernels.size());
        for (std::size_t i = 0; i < kernels.size(); ++i) {
            const Kernel& kernel = kernels[i];
            INFO(kernel.name, ", launch ", i, ", ", std::string(done[i].kernel));
            const Stated& stated = find(kernel.name);
            const Moved moved = sum_of({done[i]});
            const Moved least = with_runner(kernel, stated, stated.least);
            if (stated.functor) CHECK(has_type(done[i].kernel, kernel.name));
            if (exactly || stated.most.reads.empty()) {
                CHECK(moved.read == least.read);
                CHECK(moved.written == least.written);
            } else {
                const Moved most = with_runner(kernel, stated, stated.most);
                CHECK(moved.read >= least.read);
                CHECK(moved.read <= most.read);
                CHECK(moved.written >= least.written);
                CHECK(moved.written <= most.written);
            }
            counted_.insert(kernel.name);
        }
        return sum_of(all);
    }
    Moved expect(const std::vector<std::string>& kernels, const Names& names) {
        return expect(with_names(kernels, names));
    }

    void every_kernel_was_counted() const {
        for (const auto& kernel : stated_) {
            INFO(kernel.first);
            CHECK(counted_.count(kernel.first) == 1);
        }
    }

  private:
    static std::string source(const std::string& file) { return FASTOPT_SOURCE "/csrc/" + file; }
    const Stated& find(const std::string& name) const {
        const auto own = stated_.find(name);
        return own != stated_.end() ? own->second : common_.at(name);
    }
    // A functor's bytes, and those of the kernel that runs it.
    Moved with_runner(const Kernel& kernel, const Stated& stated,
                      const ReadsWrites& formula) const {
        const Moved own = formula.of(kernel.names);
        if (!stated.functor) return own;
        Names names = kernel.names;
        names["r"] = own.read, names["w"] = own.written;
        return common_.at(kernel.by).least.of(names);
    }
    std::map<std::string, Stated> stated_, common_;
    std::set<std::string> counted_;
};

} // namespace bytes
