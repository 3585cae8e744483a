# cmake/embed_page.cmake - FILES (page.html, page.css, then scripts in order) to OUT, a C++ source with the page in two
# halves, before and after the data. The page's policy names its own style and script by hash, so nothing else can run.

# SHA-256 of text as a Content-Security-Policy writes it. CMake has it in hex only: three bytes make four letters.
function(csp_hash text result)
  string(SHA256 hex "${text}")
  set(letters ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
  set(base64 "")
  foreach(begin RANGE 0 60 6)
    string(SUBSTRING "${hex}00" ${begin} 6 part)
    foreach(shift 18 12 6 0)
      math(EXPR index "(0x${part} >> ${shift}) & 63")
      string(SUBSTRING ${letters} ${index} 1 letter)
      string(APPEND base64 ${letter})
    endforeach()
  endforeach()
  string(SUBSTRING ${base64} 0 43 base64)
  set(${result} "sha256-${base64}=" PARENT_SCOPE)
endfunction()

list(POP_FRONT FILES html_file css_file)
file(READ ${html_file} html)
file(READ ${css_file} style)
set(script "'use strict';\n")
foreach(script_file IN LISTS FILES)
  file(READ ${script_file} part)
  string(APPEND script "${part}\n")
endforeach()
csp_hash("${style}" style_hash)
csp_hash("${script}" script_hash)
foreach(name style_hash script_hash style script)
  string(REPLACE "@${name}@" "${${name}}" html "${html}")
endforeach()

string(FIND "${html}" "@data@" data)
if(data EQUAL -1)
  message(FATAL_ERROR "${html_file} has no @data@")
endif()
string(SUBSTRING "${html}" 0 ${data} head)
math(EXPR after "${data} + 6")
string(SUBSTRING "${html}" ${after} -1 tail)
file(WRITE ${OUT} "// Made by cmake/embed_page.cmake from viewer/.
#include \"cli/look_page.h\"

namespace regard::cli {
const std::string_view kPageHead = R\"page(${head})page\";
const std::string_view kPageTail = R\"page(${tail})page\";
}  // namespace regard::cli
")
