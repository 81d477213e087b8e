/** What is read of a metadata service. */
export interface Target {
  /** Canonical. */
  readonly path: string
  /** Nothing, or one that the service answers by itself. */
  readonly query: string | undefined
}

/** A path without a query. */
export function ofPath(path: string): Target {
  return { path, query: undefined }
}

/** As it is sent; what is shared between those who ask for the same. */
export function keyOf({ path, query }: Target): string {
  return query === undefined ? path : `${path}?${query}`
}
