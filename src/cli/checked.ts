import { MetabindError } from '../errors.ts'
import { print, printAnswer } from './output.ts'

/** What there is to say of a file that is good. */
interface Good {
  /** Members of the answer besides. */
  readonly more?: object
  /** After `valid`, for people. */
  readonly summary?: string
  readonly notes: readonly string[]
}

const EXIT_INVALID = 1

/**
 * Says of a file whether it is valid. As JSON that one is not is an answer, too; in words it is the one line
 * of an error.
 *
 * @param shape of the answer as JSON
 * @returns the exit code
 * @throws MetabindError of what is wrong, unless JSON is asked for
 */
export async function checked(
  shape: string,
  file: string,
  asJson: boolean,
  check: () => Promise<Good>,
): Promise<number> {
  try {
    const { more = {}, summary = '', notes } = await check()
    if (asJson) printAnswer(shape, { file, valid: true, ...more, notes })
    else print([`${file}: valid${summary}`, ...notes].map((line) => `${line}\n`).join(''))
    return 0
  } catch (error) {
    if (!asJson || !(error instanceof MetabindError)) throw error
    printAnswer(shape, { file, valid: false, code: error.code, says: error.message })
    return EXIT_INVALID
  }
}
