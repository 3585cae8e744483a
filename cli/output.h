// cli/output.h - standard output, or a file that is there whole or not at all.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace regard::cli {

/// Standard output's reader has gone (| head): the command ends quietly.
struct ClosedPipe {};

/// Where a command writes. "-" is standard output. A file is written under a temporary name beside
/// its target and renamed by commit(); on an error, an exception or a signal the temporary file is
/// removed and the target stays as it was. A target that is no regular file (a pipe, /dev/null) is
/// written as it is. Each write, flush and close is checked: errors are std::runtime_error with the
/// name and the reason, or ClosedPipe. At most 8 at a time.
class Output {
 public:
  /// Fails at once when the target cannot be written.
  explicit Output(std::string path);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text);
  /// All is written: flushes, closes and gives the file its name. Nothing may be written after it.
  void commit();

 private:
  void open_target();
  void open_temporary(unsigned mode);
  void flush();
  [[noreturn]] void fail(int error) const;

  std::string path_;       // as the user wrote it
  std::string target_;     // symbolic links followed
  std::string temporary_;  // "" when written in place
  std::string buffer_;
  int fd_ = -1;
  int slot_ = -1;  // in the list of files that a signal removes
};

/// The same as a std::ostream, whose operations throw what Output throws.
class OutputStream final : public std::ostream {
 public:
  explicit OutputStream(Output& output) : std::ostream(&buffer_), buffer_(output) {
    exceptions(badbit);  // an ostream holds back exceptions otherwise
  }

 private:
  struct Buffer final : std::streambuf {
    explicit Buffer(Output& target) : output(target) {}
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* text, std::streamsize size) override;
    Output& output;
  };
  Buffer buffer_;
};

/// Once, at the start of main: a closed pipe and a file size limit become errors of write(), an
/// interrupt removes unfinished files, and no file we open can become standard output because that
/// was closed.
void prepare_process();

}  // namespace regard::cli
