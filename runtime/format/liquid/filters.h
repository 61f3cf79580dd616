/* filters.h - every filter, for the table. Each: v[0] the input, v[1..n] the arguments; the table has checked
 * how many. Results live as long as the render. */
#ifndef HATO_FORMAT_LIQUID_FILTERS_H
#define HATO_FORMAT_LIQUID_FILTERS_H

#include "format/liquid/internal.h"

FILTER(abs);
FILTER(append);
FILTER(at_least);
FILTER(at_most);
FILTER(base64_decode);
FILTER(base64_encode);
FILTER(base64_url_safe_decode);
FILTER(base64_url_safe_encode);
FILTER(capitalize);
FILTER(ceil);
FILTER(compact);
FILTER(concat);
FILTER(date);
FILTER(default);
FILTER(divided_by);
FILTER(downcase);
FILTER(escape);
FILTER(escape_once);
FILTER(find);
FILTER(find_index);
FILTER(first);
FILTER(floor);
FILTER(has);
FILTER(join);
FILTER(last);
FILTER(lstrip);
FILTER(map);
FILTER(minus);
FILTER(modulo);
FILTER(newline_to_br);
FILTER(plus);
FILTER(prepend);
FILTER(raw);
FILTER(reject);
FILTER(remove);
FILTER(remove_first);
FILTER(remove_last);
FILTER(replace);
FILTER(replace_first);
FILTER(replace_last);
FILTER(reverse);
FILTER(round);
FILTER(rstrip);
FILTER(size);
FILTER(slice);
FILTER(sort);
FILTER(sort_natural);
FILTER(split);
FILTER(strip);
FILTER(strip_html);
FILTER(strip_newlines);
FILTER(sum);
FILTER(times);
FILTER(truncate);
FILTER(truncatewords);
FILTER(uniq);
FILTER(upcase);
FILTER(url_decode);
FILTER(url_encode);
FILTER(where);

#endif
