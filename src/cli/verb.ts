/** What every file in this folder exports: one verb of the `metabind` command. */
export interface Verb {
  /** One line for the list of verbs. */
  readonly summary: string
  /** The whole text of `metabind VERB --help`, ending in a newline. */
  readonly help: string
  /**
   * Runs the verb.
   * @param args what stands after the verb on the command line
   * @returns the exit code; throws MetabindError for a failure that the command line prints as one line
   */
  run(args: readonly string[]): Promise<number>
}
