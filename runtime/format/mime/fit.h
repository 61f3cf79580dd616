/* fit.h - a message's texts made to fit the charset that is asked for. Inside mime. */
#ifndef HATO_FORMAT_MIME_FIT_H
#define HATO_FORMAT_MIME_FIT_H

#include "format/mime.h"

/* *fitted is m with what its unmappable says done to every text; fitted->charset is what the mail is written
 * in. Text of fitted lies in m or in a. *unmappable: characters that ISO-2022-JP has not, in all texts.
 * ERR_UNSUPPORTED where such a character is an error, naming it and the place. */
int fit_charset(const struct mime_message *m, struct arena *a, struct mime_message *fitted,
                uint32_t *unmappable, struct err *e);

#endif
