import type { Certificate } from './certificate.ts'

/** Each certificate of a path with its issuer. @param path leaf first, anchor last */
export function linksOf(path: readonly Certificate[]): (readonly [Certificate, Certificate])[] {
  return path.flatMap((certificate, at) =>
    path.slice(at + 1, at + 2).map((issuer) => [certificate, issuer] as const),
  )
}
