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

struct Moved {
    index_t read = 0, written = 0, works = 0; // works: kernels, copies, fills, calls of libraries
    Moved& operator+=(const Moved& o) {
        return read += o.read, written += o.written, works += o.works, *this;
    }
};

struct ReadsWrites {
    std::string reads, writes;
    Moved of(const Names& names) const {
        return {Formula(reads, names).value(), Formula(writes, names).value(), 0};
    }
};

// Of a kernel; `most` is empty where `least` is exact.
struct Stated {
    ReadsWrites least, most;
    bool functor = false; // of `each` or `reduce_parts`
};

inline bool find_formula(const std::string& comment, const std::string& before, ReadsWrites& to) {
    std::smatch m;
    const std::regex formula(before + R"(: reads ([^;]+); writes ([^.]+)\.)");
    if (!std::regex_search(comment, m, formula)) return false;
    to = {m[1], m[2]};
    return true;
}

// By kernel, or functor of one index: what follows "Bytes: reads ...; writes ...." in the comment
// above it and, where that is the least, "At most: reads ...; writes ....".
inline std::map<std::string, Stated> of_kernels(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot open " + path);
    std::map<std::string, Stated> found;
    std::string comment, name;
    const std::regex kernel(R"(__global__ void (?:__launch_bounds__\([\w, ]+\)\s+)?(\w+)\()");
    const std::regex type(R"(^(?:template <.*> )?struct (\w+) \{)");
    const std::regex of_one_index(R"(operator\(\)\(index_t \w+\) const)");
    const auto keep = [&](bool functor) {
        Stated stated;
        if (!find_formula(comment, "Bytes", stated.least))
            throw std::runtime_error("no bytes are stated above " + name);
        find_formula(comment, "At most", stated.most);
        stated.functor = functor, found[name] = stated;
    };
    bool in_type = false; // its comment is kept until its end
    for (std::string line, next; std::getline(file, line);) {
        std::smatch m;
        if (!in_type && line.compare(0, 2, "//") == 0) {
            comment += line.substr(2);
            continue;
        }
        if (line.find("__global__ void") != std::string::npos && line.back() == ')' &&
            std::getline(file, next)) // the name stands on the next line
            line += next;
        if (std::regex_search(line, m, kernel)) {
            name = m[1], keep(false);
        } else if (std::regex_search(line, m, type)) {
            name = m[1], in_type = line.find("};") == std::string::npos;
            if (in_type) continue;
        } else if (in_type && line != "};") {
            if (std::regex_search(line, of_one_index)) keep(true);
            continue;
        } else if (line.compare(0, 8, "template") == 0) {
            continue; // what it declares follows
        }
        in_type = false;
        comment.clear();
    }
    return found;
}

struct Row : ReadsWrites {
    std::string step;
};

// The rows of the table under a line of a page: "| step | reads | writes |", read top down.
inline std::vector<Row> of_table(const std::string& path, const std::string& heading) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line) && line.find(heading) == std::string::npos) {
    }
    std::vector<Row> rows;
    const std::regex row(R"(\| *([^|]+)\|([^|]+)\|([^|]+)\|)");
    for (std::smatch m; std::getline(file, line);) {
        if (std::regex_match(line, m, row))
            rows.push_back({{m[2], m[3]}, m[1]});
        else if (!rows.empty())
            break;
    }
    if (rows.size() < 3) throw std::runtime_error("no table under '" + heading + "' in " + path);
    return {rows.begin() + 2, rows.end()}; // after the head and the line below it
}

// The sum of the rows whose steps begin with these words.
inline Moved total(const std::vector<Row>& table, const Names& names,
                   const std::string& words = "") {
    Moved sum;
    bool any = false;
    for (const Row& row : table)
        if (row.step.compare(0, words.size(), words) == 0) sum += row.of(names), any = true;
    if (!any) throw std::runtime_error("no step of the table begins with '" + words + "'");
    return sum;
}

} // namespace bytes
