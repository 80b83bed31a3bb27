/* Prints, for each line of hexadecimal bytes, what scripts/powercut.d/plugin/decode.c takes the instruction for. */
#include "../../scripts/powercut.d/plugin/decode.h"
#include <stdio.h>

int main(void)
{
	static const char *const names[] = {"other", "store-around", "write-back", "flush", "fence",
					    "forget-page", "system-call", "call", "mark"};
	char line[256];
	while (fgets(line, sizeof line, stdin)) {
		uint8_t code[16] = {0};
		size_t length = 0;
		unsigned byte;
		for (int at = 0, read; length < 15 && sscanf(line + at, "%2x%n", &byte, &read) == 1; at += read)
			code[length++] = byte;
		struct decoded decoded = decode(code, length);
		printf("%s", names[decoded.what]);
		if (decoded.what == WRITE_BACK || decoded.what == FLUSH)
			printf(" base %d index %d shift %d%s displacement %d",
			       decoded.operand.base == NO_REGISTER ? -1 : decoded.operand.base,
			       decoded.operand.index == NO_REGISTER ? -1 : decoded.operand.index, decoded.operand.shift,
			       decoded.operand.relative ? " relative" : "", decoded.operand.displacement);
		if (decoded.what == CALL)
			printf(" target %d", decoded.target);
		puts("");
	}
	return 0;
}
