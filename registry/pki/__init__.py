"""Who is who: the certificate authority, its certificates, join tokens and trust bundles (DESIGN.md section 7)."""
