// The formulas in the comments above the kernels and in the tables of docs/cuda.md, as numbers.
#pragma once

#include <cctype>
#include <fstream>
#include <map>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/types.hpp"

namespace bytes {

using fastopt::index_t;
using Names = std::map<std::string, index_t>;

// Whole numbers, names, + - and products without a sign: "T (2 n d + d) + 8 n".
class Formula {
  public:
    Formula(std::string text, const Names& names) : text_(std::move(text)), names_(names) {}
    index_t value() {
        const index_t v = sum();
        if (!at_end()) fail();
        return v;
    }

  private:
    [[noreturn]] void fail() const {
        throw std::runtime_error("cannot read '" + text_ + "' at '" + text_.substr(at_) + "'");
    }
    bool at_end() {
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
        return at_ == text_.size();
    }
    bool next_is(char c) { return !at_end() && text_[at_] == c; }
    index_t sum() {
        index_t v = product();
        for (;;)
            if (next_is('+'))
                ++at_, v += product();
            else if (next_is('-'))
                ++at_, v -= product();
            else
                return v;
    }
    index_t product() {
        index_t v = factor();
        while (!at_end() && text_[at_] != '+' && text_[at_] != '-' && text_[at_] != ')')
            v *= factor();
        return v;
    }
    index_t factor() {
        if (next_is('(')) {
            ++at_;
            const index_t v = sum();
            if (!next_is(')')) fail();
            ++at_;
            return v;
        }
        std::string word;
        while (at_ < text_.size() && std::isalnum(static_cast<unsigned char>(text_[at_])))
            word += text_[at_++];
        if (word.empty()) fail();
        if (std::isdigit(static_cast<unsigned char>(word[0]))) return std::stol(word);
        const auto found = names_.find(word);
        if (found == names_.end()) fail();
        return found->second;
    }

    std::string text_;
    const Names& names_;
    std::size_t at_ = 0;
};

struct ReadsWrites {
    std::string reads, writes;
};

// By kernel: what follows "Bytes: reads ...; writes ...." in the comment above it.
inline std::map<std::string, ReadsWrites> of_kernels(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot open " + path);
    std::map<std::string, ReadsWrites> found;
    std::string comment, code;
    const std::regex name(R"(__global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\()");
    const std::regex formula(R"(Bytes: reads ([^;]+); writes ([^.]+)\.)");
    for (std::string line; std::getline(file, line);) {
        std::smatch m;
        if (line.compare(0, 2, "//") == 0) {
            comment += line.substr(2);
            continue;
        }
        if (std::regex_search(line, m, name)) {
            const std::string kernel = m[1];
            if (!std::regex_search(comment, m, formula))
                throw std::runtime_error("no bytes are stated above the kernel " + kernel);
            found[kernel] = {m[1], m[2]};
        } else if (line.compare(0, 8, "template") == 0) {
            continue; // what it declares follows
        }
        comment.clear();
    }
    return found;
}

// The rows of the table under a heading of a page: "| step | reads | writes |", read top down.
inline std::vector<ReadsWrites> of_table(const std::string& path, const std::string& heading) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line) && line.find(heading) == std::string::npos) {
    }
    std::vector<ReadsWrites> rows;
    const std::regex row(R"(\|([^|]+)\|([^|]+)\|([^|]+)\|)");
    for (std::smatch m; std::getline(file, line);) {
        if (std::regex_match(line, m, row))
            rows.push_back({m[2], m[3]});
        else if (!rows.empty())
            break;
    }
    if (rows.size() < 3) throw std::runtime_error("no table under '" + heading + "' in " + path);
    return {rows.begin() + 2, rows.end()}; // after the head and the line below it
}

} // namespace bytes
