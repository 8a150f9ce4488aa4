/** The members of a comma-separated field value (RFC 9110 §5.6.1), without the whitespace around them; empty ones too. */
export const membersOf = (value: string): string[] => value.split(',').map(trimmed)

/** A pattern for both ends would try every run of blanks within: hostile values make that slow. */
function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09
