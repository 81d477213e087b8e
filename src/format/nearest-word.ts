/** What was probably meant by a word that is none of those that are known. */

/** @returns the known word nearest to it, or undefined if none is near */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const distances = known.map((one) => [editDistance(word, one), one] as const)
  const [nearest] = distances.sort(([one], [other]) => one - other)
  // A word of which half is wrong is another word.
  return nearest !== undefined && nearest[0] <= Math.min(3, word.length / 3)
    ? nearest[1]
    : undefined
}

/** Insertions, deletions, replacements, and neighbours that changed places (Damerau and Levenshtein). */
function editDistance(from: string, to: string): number {
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, at) => at)]
  const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY
  for (let i = 1; i <= from.length; i += 1) {
    rows.push([i])
    for (let j = 1; j <= to.length; j += 1) {
      const differs = from[i - 1] === to[j - 1] ? 0 : 1
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      const least = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + differs)
      rows[i]?.push(isSwapped ? Math.min(least, at(i - 2, j - 2) + 1) : least)
    }
  }
  return at(from.length, to.length)
}
