// Writes what the CPU's steps give: admm_reference <file>.
#include <cstdio>

#include "admm_cases.hpp"

namespace {

struct Writer {
    std::FILE* file;
    void operator()(const std::string&, const std::vector<double>& numbers, double) {
        const std::size_t size = numbers.size();
        std::fwrite(&size, sizeof size, 1, file);
        std::fwrite(numbers.data(), sizeof(double), size, file);
    }
};

} // namespace

int main(int, char** argv) {
    Writer writer{std::fopen(argv[1], "wb")};
    if (!writer.file) return 1;
    admm_cases::Cases<Writer> cases(writer, fastopt::make_queue());
    cases.all();
    cases.more_items_than_threads();
    return std::fclose(writer.file);
}
